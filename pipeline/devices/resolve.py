"""Which device stands behind a target: what the bench file names, else what the target file says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.devices.bench import BENCH, BoardEntry, ComputerEntry, Entry, read_bench
from pipeline.errors import DeviceError

if TYPE_CHECKING:
    from pipeline.devices.device import Device
    from pipeline.target import Target


def resolve_devices(
    targets: Sequence[Target], bench: Path | None = None, *, accept_new_host_key: bool = False
) -> tuple[Device, ...]:
    """One device a target. The bench file (`bench`, else ./bench.toml) is read here, once, and never again; what it names
    comes before the target's own transport. RecipeError for a wrong bench file, DeviceError where nothing says which."""
    entries = read_bench(bench, targets)
    return tuple(_device(t, entries.get(t.name), bench or BENCH, accept_new_host_key) for t in targets)


def resolve_device(target: Target, bench: Path | None = None, *, accept_new_host_key: bool = False) -> Device:
    """`resolve_devices` for one."""
    return resolve_devices((target,), bench, accept_new_host_key=accept_new_host_key)[0]


def _device(target: Target, entry: Entry | None, bench: Path, accept_new_host_key: bool) -> Device:
    transport = target.device.transport
    if target.family == "linux":
        from pipeline.devices.linux.computer import ProcessDevice, SshDevice, wheels_folder

        if isinstance(entry, ComputerEntry):
            return SshDevice(target, entry, wheels_folder(bench, target, entry), accept_new_host_key)
        if transport == "process":
            return ProcessDevice(target, bench)
        raise DeviceError(
            f'nothing says where {target.name} is. Write `[{target.name}]` and `host = "pi@raspberrypi"` (what you type '
            f"after ssh) into {bench}."
        )
    from pipeline.devices.board.devices import QemuDevice, SerialDevice

    if isinstance(entry, BoardEntry):
        return SerialDevice(target, entry)
    if transport == "qemu":
        return QemuDevice(target)
    if transport == "serial":
        raise DeviceError(
            f'nothing says where {target.name} is connected. Write `[{target.name}]` and `port = "/dev/ttyACM0"` (its '
            f"port) into {bench}, or use an emulated target: `pipeline targets` lists them."
        )
    raise DeviceError(
        f"target {target.name} is a microcontroller, which can not be reached by transport = "
        f'"{transport}". Write "serial" (a board) or "qemu" (an emulated one) in its target file.'
    )
