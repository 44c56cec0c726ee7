"""The two devices that run a firmware: a board on a serial port, and the emulated one that stands in for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import NoReturn

from pipeline.artifacts import Firmware
from pipeline.devices.bench import BENCH, BoardEntry
from pipeline.devices.board import flash
from pipeline.devices.board.board import Board
from pipeline.devices.board.protocol import OtherBoardError, by_hand
from pipeline.devices.board.qemu import QemuBoard, require_machine
from pipeline.devices.board.serial import PortError, SerialBoard, require_port
from pipeline.devices.device import Counter, MissingError
from pipeline.errors import DeviceError, RecipeError
from pipeline.host.tools import QEMU, Tool
from pipeline.target import Target

BACK_AFTER_S, POLL_S = 10.0, 0.2  # a USB port comes back within a second or two of the board's reset


@dataclass(frozen=True)
class SerialDevice:
    """A board on the desk."""

    target: Target
    entry: BoardEntry

    @property
    def where(self) -> str:
        return f"{self.target.name} on {self.entry.port}"

    def tools(self) -> tuple[Tool, ...]:
        return ()

    @property
    def flash_command(self) -> tuple[str, ...]:
        """The desk's, else the target's; none: flashed by hand."""
        return self.entry.flash or self.target.device.flash

    def require(self) -> None:
        require_port(self.entry, self.target)
        if self.flash_command:
            flash.require_tool(self.flash_command, self.where)

    def advice(self) -> str:
        if self.flash_command:
            return ""
        return (
            f"nothing flashes {self.where}: unless it runs this very firmware already, the measure stage will stop and name "
            f"the file to flash, and `pipeline measure DIR` goes on from there. Or {self._how_to_flash()}"
        )

    def flash(self, firmware: Firmware) -> None:
        if not self.flash_command:
            raise MissingError(f"nothing flashes {self.where}: {by_hand(firmware)}. Or {self._how_to_flash()}")
        flash.flash(self.flash_command, firmware, self.entry.port, self.where)

    def _how_to_flash(self) -> str:
        return (
            f"give [{self.target.name}] in {BENCH} the command that does: "
            f'flash = ["st-flash", "--reset", "write", "{{bin}}", "0x{self.target.memory.flash_origin:08x}"], for example.'
        )

    @contextmanager
    def open_board(self, firmware: Firmware, counter: Counter = "plugin") -> Iterator[Board]:
        """A board that runs something else is flashed first, where there is a command for it; not one that answers as
        another board. `counter` is of no matter: the board's own timer counts."""
        with ExitStack() as stack:
            board = SerialBoard(firmware, self.target, self.entry)
            try:
                stack.enter_context(board)
            except (OtherBoardError, PortError):
                raise
            except DeviceError:
                if not self.flash_command:
                    raise
                self.flash(firmware)
                self._enter_flashed(stack, board)
            yield board

    def _enter_flashed(self, stack: ExitStack, board: SerialBoard) -> None:
        """The port of a board that was just reset may be gone for a while, and its boot banner may come in the midst of the
        first conversation: there is a second."""
        end, first = time.monotonic() + BACK_AFTER_S, True
        while True:
            try:
                stack.enter_context(board)
                return
            except PortError:
                if time.monotonic() > end:
                    raise
                time.sleep(POLL_S)
            except DeviceError as e:
                if first:
                    first = False
                    continue
                raise DeviceError(
                    f"{self.where} was flashed, and is not as it should be. Does the flash command write where the target's "
                    f"flash begins (0x{self.target.memory.flash_origin:08x}), and reset the board? {e}"
                ) from None

    def open_computer(self) -> NoReturn:
        raise _no_computer(self.target)

    def meter(self) -> NoReturn:
        raise MissingError(
            f"no meter weighs {self.where}: energy is estimated, the datasheet's power times the time. Meters are read for "
            "Linux computers."
        )

    def clean(self) -> NoReturn:
        raise _nothing_kept(self.target)


@dataclass(frozen=True)
class QemuDevice:
    """The target's machine in QEMU, which boots the very image of the firmware folder."""

    target: Target

    @property
    def where(self) -> str:
        return f"{self.target.name} in QEMU ({self.target.device.machine})"

    def tools(self) -> tuple[Tool, ...]:
        return (QEMU,)

    def require(self) -> None:
        require_machine(self.target)

    def advice(self) -> str:
        return ""

    def flash(self, firmware: Firmware) -> NoReturn:
        raise MissingError(f"{self.where} is not flashed: QEMU boots the image of the firmware folder itself. Open it.")

    def open_board(self, firmware: Firmware, counter: Counter = "plugin") -> AbstractContextManager[Board]:
        return QemuBoard(firmware, self.target, counter)

    def open_computer(self) -> NoReturn:
        raise _no_computer(self.target)

    def meter(self) -> NoReturn:
        raise MissingError(
            f"{self.where} is emulated and draws no power of its own: energy is estimated, the datasheet's power times the "
            "time."
        )

    def clean(self) -> NoReturn:
        raise _nothing_kept(self.target)


def _no_computer(target: Target) -> MissingError:
    return MissingError(
        f"{target.name} is a microcontroller: it runs a firmware, not models from files. Take a target of family 'linux': "
        "`pipeline targets` lists them."
    )


def _nothing_kept(target: Target) -> RecipeError:
    return RecipeError(f"{target.name} is a microcontroller: nothing is kept there but its firmware.")
