"""A real board on a serial port. Which port is no property of the board: it is in `bench.toml`, one table a board:

[nucleo-l4r5zi]
port = "/dev/ttyACM0"
"""

from __future__ import annotations

import errno
import os
import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import serial

from pipeline.devices.board.board import Board
from pipeline.devices.board.cores import fewest_cycles
from pipeline.devices.board.link import ANSWER_TIMEOUT_S, WRITE_TIMEOUT_S, Link
from pipeline.devices.board.plugin import Counts
from pipeline.devices.board.protocol import Run
from pipeline.errors import DeviceError, RecipeError, did_you_mean
from pipeline.ir import Array
from pipeline.stage import Firmware
from pipeline.strict import limits, parse, read_toml
from pipeline.target import Target
from pipeline.target import names as target_names

BENCH = Path("bench.toml")
URL_SCHEMES = ("socket", "rfc2217")
"""pyserial's others test pyserial, or write files (spy://)."""
CLOCK_SLACK = 0.05  # boards without a crystal are off by a few percent
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


def require_port(entry: BenchEntry, target: Target) -> None:
    """DeviceError when the port that the bench file names is not on this computer."""
    if "://" not in entry.port and os.name == "posix" and not Path(entry.port).exists():
        raise _unopened(entry, target, "there is no such port")


class SerialBoard(Board):
    """A board that already runs the firmware, behind a port. Its timer is its own: figures are measured."""

    clock = "device"

    def __init__(self, firmware: Firmware, target: Target, entry: BenchEntry) -> None:
        super().__init__(firmware, target, f"{target.name} on {entry.port}")
        self._entry = entry

    def _connect(self) -> Link:
        baud = self._entry.baud or self.target.device.baud
        # pyserial's RFC 2217 ports know no write timeout, and need none: their socket has one.
        write_timeout = None if self._entry.port.startswith("rfc2217://") else WRITE_TIMEOUT_S
        try:
            port = serial.serial_for_url(
                self._entry.port, baudrate=baud, timeout=1, write_timeout=write_timeout, exclusive=True
            )
        except (OSError, ValueError) as e:  # pyserial's SerialException is an OSError
            raise _unopened(self._entry, self.target, _reason(e)) from None
        link = Link(port, self.where, answer_timeout_s=ANSWER_TIMEOUT_S)
        try:
            link.synchronise()
        except BaseException:
            link.close()
            raise
        return link

    def _release(self) -> None:
        pass  # the link's port was all

    @property
    def counter(self) -> str:
        return self.identity.timer

    def _run(self, x: Array, runs: int) -> Run:
        """DeviceError when the board claims more time than there was, as its clock is not what its firmware takes it for, or
        so little that the timing can not be true."""
        began = time.monotonic()
        run = super()._run(x, runs)
        passed, claimed = time.monotonic() - began, sum(run.ticks) / self.identity.tick_hz
        if claimed > passed * (1 + CLOCK_SLACK):
            raise DeviceError(
                f"{self.where} says that `run {runs}` took {claimed:.3g} s, but {passed:.3g} s passed here: its timer "
                f"({self.counter}) does not run at {self.identity.tick_hz:,} Hz. Mend `core_clock_hz` (or `clock_hz`) in "
                "the target file, build the firmware again and flash it."
            )
        self._require_possible(run)
        return run

    def _require_possible(self, run: Run) -> None:
        """The timer counts the core's cycles. Interrupts, a cold cache and a sleeping board make some runs longer than
        others; nothing makes one shorter by half, as all do the same work."""
        macs, core = self.firmware.model.graph.macs(), self.target.cpu.core
        shortest, median, fewest = min(run.ticks), statistics.median_low(run.ticks), fewest_cycles(core, macs)
        if shortest < fewest:
            why = f"but no {core} does the model's {macs:,} multiply-accumulates in less than {fewest:,}"
        elif 2 * shortest < median:
            why = f"but half of them {median:,} and more, though each did the same work"
        else:
            return
        raise DeviceError(
            f"{self.where} says that an inference took {shortest:,} {'cycle' if shortest == 1 else 'cycles'} of its core, "
            f"{why}: the timing was garbled on the wire, or the timer ({self.counter}) does not count all the time. Check "
            'cable, ground and baud rate; if it says so again, write timer = "systick" under [device] in the target file, '
            "build and flash it anew."
        )

    def _counts(self, run: Run) -> tuple[Counts | None, ...]:
        """The board's timer counts core clock cycles; nothing counts its instructions."""
        return (None,) * len(run.ticks)


def _unopened(entry: BenchEntry, target: Target, why: str) -> DeviceError:
    return DeviceError(
        f"the port {entry.port!r} of {target.name} can not be opened: {why}. Plug the board in, close other programs that "
        f"use the port (a terminal, an IDE), check your permission (on Linux the group dialout), and `port` in {BENCH}."
    )


def _reason(e: Exception) -> str:
    text = str(e)
    if isinstance(e, OSError) and e.errno == errno.ENOENT:
        return "there is no such port"
    if "exclusively lock" in text or "Resource temporarily unavailable" in text:
        return "another program has it open"
    return text.rstrip(".")
