"""What is on the desk: `bench.toml`, one table a board or computer."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import RecipeError, did_you_mean
from pipeline.strict import limits, parse, read_toml
from pipeline.target import Target
from pipeline.target import names as target_names

BENCH = Path("bench.toml")


URL_SCHEMES = ("socket", "rfc2217")
"""pyserial's others test pyserial, or write files (spy://)."""


_PSEUDO_TERMINAL = re.compile(r"/dev/(pts/|ttys\d)")
"""What a program opens in a serial port's place, on Linux and macOS."""


@dataclass(frozen=True, slots=True)
class BenchEntry:
    """How one board on this desk is reached: `port` for microcontrollers (`baud` 0: the target's), `host` for computers.

    Figures of what is at `port` are measured. At a serial port there is a board; a network port or a pseudo terminal leads
    to a board or to an emulator, and only the user knows which: there `kind` must say that it is a board.

    `wheels`: a folder to install from when the computer has no engine and no network. `meter` on the port `meter_port` sits
    in the computer's supply of `supply_mv`, or (`meter_mode` "source") is that supply."""

    port: str = ""
    baud: int = limits(0, low=0, high=10_000_000)
    kind: Literal["measured"] | None = None
    host: str = ""
    wheels: Path | None = None
    meter: Literal["ppk2"] | None = None
    meter_port: str = ""
    meter_mode: Literal["ampere", "source"] = "ampere"
    supply_mv: int = limits(5000, low=800, high=5000)

    def __post_init__(self) -> None:
        for key in ("port", "meter_port"):
            scheme, url, _ = getattr(self, key).partition("://")
            if url and scheme not in URL_SCHEMES:
                raise ValueError(
                    f'{key} = "{getattr(self, key)}" must be a serial port such as /dev/ttyACM0, or '
                    f"{' or '.join(f'{s}://HOST:PORT' for s in URL_SCHEMES)}."
                )
        if self.port and self.host:
            raise ValueError("port is for a microcontroller, host for a computer: give one of them.")
        if self.kind and not self.port:
            raise ValueError(f'kind = "{self.kind}" says what is at a port: give `port` too, or leave kind out.')
        if not self.kind and ("://" in self.port or _PSEUDO_TERMINAL.match(os.path.realpath(self.port))):
            raise ValueError(
                f'port = "{self.port}" may lead to a board or to an emulator, and nothing tells which. If a real board is '
                'there, add kind = "measured". An emulator is none for the bench, as nothing counts its cycles: leave it to '
                'a target whose file says transport = "qemu".'
            )
        if self.meter and not (self.host and self.meter_port):
            raise ValueError(
                f'meter = "{self.meter}" also needs host, the computer it feeds, and meter_port ("/dev/ttyACM0").'
            )
        if self.meter_port and not self.meter:
            raise ValueError('meter_port says where, but not what is there: add meter = "ppk2".')


def read_bench(path: Path = BENCH) -> Mapping[str, BenchEntry]:
    """The boards in a bench file by target name; none when there is no file. RecipeError when it is wrong."""
    if not path.exists():
        return {}
    return {name: parse(BenchEntry, table, f"{path}: {name}") for name, table in read_toml(path).items()}


def bench_entry(target: Target, bench: Path | None = None) -> BenchEntry | None:
    """What the bench file (`bench`, else ./bench.toml) says of the target's device, None when it says nothing. RecipeError
    when the file is wrong: also for a table that is no target's, since a misspelt board must not become an emulated one."""
    path = bench or BENCH
    entries = read_bench(path)
    known = sorted({*target_names(path.parent / "targets"), target.name})
    for name in entries:
        if name not in known:
            raise RecipeError(
                f"{path}: [{name}] is no target's name.{did_you_mean(name, known)} Known targets: {', '.join(known)}. "
                f"One of your own is known by its file in ./targets, or in a folder `targets` beside {path}."
            )
    entry = entries.get(target.name)
    if entry is not None:
        key, what = ("port", "microcontroller") if target.family == "cortex_m" else ("host", "Linux computer")
        if not getattr(entry, key):
            raise RecipeError(f"{path}: {target.name}.{key} is missing: {target.name} is a {what}, reached by its {key}.")
    return entry


def require_bench(bench: Path | None) -> None:
    """RecipeError when a bench file was named and is not there."""
    if bench is not None and not bench.is_file():
        raise RecipeError(
            f"the bench file {bench} does not exist. It says where boards are attached: give its path, or leave it out for "
            f"./{BENCH} or an emulated board."
        )
