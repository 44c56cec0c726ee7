"""Devices that run a firmware. `open_device` picks the one for a target: on the bench when it is there, else its default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import DeviceError

if TYPE_CHECKING:
    from pipeline.artifacts import Firmware
    from pipeline.devices.board.board import Board
    from pipeline.devices.board.qemu import Counter
    from pipeline.target import Target


def open_device(firmware: Firmware, target: Target, *, counter: Counter = "plugin", bench: Path | None = None) -> Board:
    """The device that runs `firmware`, to be used in a `with` block.

    A board in the bench file (./bench.toml) is used before the target's own transport. `counter` says how an emulated
    board's instructions are counted. RecipeError for a wrong bench file, DeviceError when nothing can run it.
    """
    from pipeline.devices.bench import bench_entry
    from pipeline.devices.board.serial import SerialBoard

    require_device(target, bench)
    entry = bench_entry(target, bench)
    if entry is not None:
        return SerialBoard(firmware, target, entry)
    from pipeline.devices.board.qemu import QemuBoard

    return QemuBoard(firmware, target, counter)


def require_device(target: Target, bench: Path | None = None) -> None:
    """What can be known before any work about the device that `open_device` would open: its port is there, or QEMU has its
    machine. RecipeError for a wrong bench file, else DeviceError. Nothing is known here about Linux computers."""
    from pipeline.devices.bench import BENCH, bench_entry
    from pipeline.devices.board.serial import require_port

    entry = bench_entry(target, bench)
    if target.family == "linux":
        return
    if entry is not None:
        require_port(entry, target)
    elif target.device.transport == "qemu":
        from pipeline.devices.board.qemu import require_machine

        require_machine(target)
    elif target.device.transport == "serial":
        raise DeviceError(
            f'nothing says where {target.name} is connected. Write `[{target.name}]` and `port = "/dev/ttyACM0"` (its '
            f"port) into {bench or BENCH}, or use an emulated target: `pipeline targets` lists them."
        )
    else:
        raise DeviceError(
            f"target {target.name} is a microcontroller, which can not be reached by transport = "
            f'"{target.device.transport}". Write "serial" (a board) or "qemu" (an emulated one) in its target file.'
        )
