"""A real board on a serial port. Which port is no property of the board: it is in `bench.toml`, one table a board:

[nucleo-l4r5zi]
port = "/dev/ttyACM0"
"""

from __future__ import annotations

import errno
import os
import statistics
import time
from pathlib import Path

import serial

from pipeline.artifacts import Firmware
from pipeline.devices.bench import BENCH, BoardEntry
from pipeline.devices.board.board import Board
from pipeline.devices.board.cores import fewest_cycles
from pipeline.devices.board.link import ANSWER_TIMEOUT_S, WRITE_TIMEOUT_S, Link
from pipeline.devices.board.plugin import Counts
from pipeline.devices.board.protocol import Run, by_hand
from pipeline.errors import DeviceError
from pipeline.ir import Array
from pipeline.target import Target

CLOCK_SLACK = 0.05  # boards without a crystal are off by a few percent


def require_port(entry: BoardEntry, target: Target) -> None:
    """DeviceError when the port that the bench file names is not on this computer."""
    if "://" not in entry.port and os.name == "posix" and not Path(entry.port).exists():
        raise _unopened(entry, target, "there is no such port")


class PortError(DeviceError):
    """The port can not be opened: nothing is known of the board."""


class SerialBoard(Board):
    """A board that already runs the firmware, behind a port. Its timer is its own: figures are measured."""

    clock = "device"

    def __init__(self, firmware: Firmware, target: Target, entry: BoardEntry) -> None:
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
        link = Link(port, self.where, answer_timeout_s=ANSWER_TIMEOUT_S, advice=self._advice())
        try:
            link.synchronise()
        except BaseException:
            link.close()
            raise
        return link

    def _advice(self) -> str:
        """What to do when it is silent."""
        return (
            "Check that the board has power, and that port and baud rate are right. Unless it runs this firmware already, "
            f"{by_hand(self.firmware)}."
        )

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


def _unopened(entry: BoardEntry, target: Target, why: str) -> PortError:
    return PortError(
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
