"""What runs a target's models, as one value: it knows how it is reached, flashed, opened and weighed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Protocol

from pipeline.errors import DeviceError
from pipeline.target import Target

if TYPE_CHECKING:  # a run on a microcontroller needs no SSH, and a stage that trains no serial port
    from pipeline.artifacts import Firmware
    from pipeline.devices.board.board import Board
    from pipeline.devices.linux.measure import Computer
    from pipeline.host.tools import Tool
    from pipeline.power.base import EnergyMeter

Counter = Literal["plugin", "systick"]
"""How the instructions of an emulated board are counted."""


class MissingError(DeviceError):
    """The device has no such capability; the message says what would work."""


class Device(Protocol):
    """A target, and what stands on the desk for it: `resolve.resolve_device` makes it before any work, and nothing reads the
    bench file after that. Making one opens nothing. What a device can not do is a MissingError."""

    @property
    def target(self) -> Target: ...

    @property
    def where(self) -> str:
        """The start of every message: "nucleo on /dev/ttyACM0", "raspberry-pi-4 (pi@desk)"."""

    def tools(self) -> tuple[Tool, ...]:
        """The programs that it can not do without, besides those that build its firmware."""

    def require(self) -> None:
        """DeviceError for what can be known before any work to fail at its end: a port that is not there, a machine that
        QEMU does not have."""

    def advice(self) -> str:
        """What the user should know before minutes of work, a sentence or two; "" when there is nothing."""

    def flash(self, firmware: Firmware) -> None:
        """Put the firmware on the board. DeviceError when that fails."""

    def open_board(self, firmware: Firmware, counter: Counter = "plugin") -> AbstractContextManager[Board]:
        """The board, flashed if need be and it can be; it has answered with the build id of this firmware. DeviceError."""

    def open_computer(self) -> AbstractContextManager[Computer]:
        """The Linux computer that runs models from files. DeviceError."""

    def meter(self) -> AbstractContextManager[EnergyMeter]:
        """The instrument in its supply, to be entered before the device, which it may feed."""

    def clean(self) -> str:
        """Remove what this program put there; says what was done."""
