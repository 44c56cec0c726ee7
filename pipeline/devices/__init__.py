"""Devices that run a firmware. `open_device` picks the one for a target: on the bench when it is there, else its default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import DeviceError

if TYPE_CHECKING:
    from pipeline.devices.board import Board
    from pipeline.devices.qemu import Counter
    from pipeline.stage import Firmware
    from pipeline.target import Target


def open_device(firmware: Firmware, target: Target, *, counter: Counter = "plugin", bench: Path | None = None) -> Board:
    """The device that runs `firmware`, to be used in a `with` block.

    A board in the bench file (./bench.toml) is used before the target's own transport. `counter` says how an emulated
    board's instructions are counted. RecipeError for a wrong bench file, DeviceError when nothing can run it.
    """
    from pipeline.devices.serial import BENCH, SerialBoard, read_bench

    path = bench or BENCH
    entry = read_bench(path).get(target.name)
    if entry is not None and entry.port:
        return SerialBoard(firmware, target, entry)
    if target.device.transport == "qemu":
        from pipeline.devices.qemu import QemuBoard

        return QemuBoard(firmware, target, counter)
    if target.device.transport == "serial":
        raise DeviceError(
            f'nothing says where {target.name} is connected. Write `[{target.name}]` and `port = "/dev/ttyACM0"` (its '
            f"port) into {path}, or use an emulated target: `pipeline targets` lists them."
        )
    raise DeviceError(f"{target.name} is reached by {target.device.transport!r}, which no device here speaks.")
