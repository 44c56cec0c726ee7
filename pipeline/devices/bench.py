"""What is on the desk: `bench.toml`, one table a board or computer."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import RecipeError, did_you_mean
from pipeline.strict import limits, parse, read_toml
from pipeline.target import Target, require_flash_command
from pipeline.target import names as target_names

BENCH = Path("bench.toml")


URL_SCHEMES = ("socket", "rfc2217")
"""pyserial's others test pyserial, or write files (spy://)."""


_PSEUDO_TERMINAL = re.compile(r"/dev/(pts/|ttys\d)")
"""What a program opens in a serial port's place, on Linux and macOS."""


@dataclass(frozen=True, slots=True)
class BoardEntry:
    """How a microcontroller on this desk is reached: `port`, at `baud` (0: the target's).

    Figures of what is at `port` are measured. At a serial port there is a board; a network port or a pseudo terminal leads
    to a board or to an emulator, and only the user knows which: there `kind` must say that it is a board. `flash` is the
    command that puts a firmware there, as in a target file, whose own it replaces."""

    port: str
    baud: int = limits(0, low=0, high=10_000_000)
    kind: Literal["measured"] | None = None
    flash: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_port("port", self.port)
        require_flash_command(self.flash)
        if not self.kind and ("://" in self.port or _PSEUDO_TERMINAL.match(os.path.realpath(self.port))):
            raise ValueError(
                f'port = "{self.port}" may lead to a board or to an emulator, and nothing tells which. If a real board is '
                'there, add kind = "measured". An emulator is none for the bench, as nothing counts its cycles: leave it to '
                'a target whose file says transport = "qemu".'
            )


@dataclass(frozen=True, slots=True)
class ComputerEntry:
    """How a Linux computer on this desk is reached: `host`, what one types after ssh.

    `wheels`: a folder to install from when the computer has no engine and no network. `meter` on the port `meter_port` sits
    in the computer's supply of `supply_mv`, or (`meter_mode` "source") is that supply."""

    host: str
    wheels: Path | None = None
    meter: Literal["ppk2"] | None = None
    meter_port: str = ""
    meter_mode: Literal["ampere", "source"] = "ampere"
    supply_mv: int = limits(5000, low=800, high=5000)

    def __post_init__(self) -> None:
        if not self.host:
            raise ValueError('host = "" leads nowhere: write what you type after ssh, such as "pi@raspberrypi".')
        if self.meter and not self.meter_port:
            raise ValueError(f'meter = "{self.meter}" also needs meter_port, where it is ("/dev/ttyACM0").')
        if self.meter_port and not self.meter:
            raise ValueError('meter_port says where, but not what is there: add meter = "ppk2".')
        if self.meter_port:
            _require_port("meter_port", self.meter_port)


Entry = BoardEntry | ComputerEntry


def read_bench(bench: Path | None, targets: Sequence[Target]) -> Mapping[str, Entry]:
    """What the bench file (`bench`, else ./bench.toml) says, by target name; nothing when there is no ./bench.toml.
    RecipeError when a file that was named is not there, or the file is wrong: also for a table that is no target's, since a
    misspelt board must not become an emulated one. `targets` are those in use, wherever their files are."""
    path = bench or BENCH
    if bench is not None and not bench.is_file():
        raise RecipeError(
            f"the bench file {bench} does not exist. It says where boards are attached: give its path, or leave it out for "
            f"./{BENCH} or an emulated board."
        )
    if not path.exists():
        return {}
    families = {t.name: t.family for t in targets}
    known = sorted({*target_names(path.parent / "targets"), *families})
    entries = {}
    for name, table in read_toml(path).items():
        if name not in known:
            raise RecipeError(
                f"{path}: [{name}] is no target's name.{did_you_mean(name, known)} Known targets: {', '.join(known)}. "
                f"One of your own is known by its file in ./targets, or in a folder `targets` beside {path}."
            )
        entries[name] = _entry(name, table, f"{path}: {name}", families.get(name))
    return entries


def _entry(name: str, table: Any, where: str, family: str | None) -> Entry:
    """One table; a `host` makes it a computer's where the target's family is not known."""
    keys = table if isinstance(table, Mapping) else ()
    if "port" in keys and "host" in keys:
        raise RecipeError(f"{where}: port is for a microcontroller, host for a computer: give one of them.")
    family = family or ("linux" if "host" in keys else "cortex_m")
    if family == "linux" and "port" in keys:
        raise RecipeError(f"{where}.host is missing: {name} is a Linux computer, reached by its host.")
    if family == "cortex_m" and "host" in keys:
        raise RecipeError(f"{where}.port is missing: {name} is a microcontroller, reached by its port.")
    return parse(ComputerEntry, table, where) if family == "linux" else parse(BoardEntry, table, where)


def _require_port(key: str, port: str) -> None:
    """ValueError for what pyserial could not open as a port."""
    scheme, url, _ = port.partition("://")
    if not port or (url and scheme not in URL_SCHEMES):
        raise ValueError(
            f'{key} = "{port}" must be a serial port such as /dev/ttyACM0, or '
            f"{' or '.join(f'{s}://HOST:PORT' for s in URL_SCHEMES)}."
        )
