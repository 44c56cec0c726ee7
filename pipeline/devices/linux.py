"""Which Linux computer stands behind a target: the one on the bench, else this one in its place."""

from __future__ import annotations

from pathlib import Path

from pipeline.devices.linux_figures import LinuxMeasurement
from pipeline.devices.process import ProcessComputer
from pipeline.devices.serial import BENCH, read_bench
from pipeline.devices.ssh import SshComputer
from pipeline.devices.ssh_connect import SshHost
from pipeline.errors import DeviceError
from pipeline.power.model import energy_uj
from pipeline.target import Target


def open_computer(
    target: Target, *, bench: Path | None = None, accept_new_host_key: bool = False, wheels: Path | None = None
) -> ProcessComputer | SshComputer:
    """To be used in a `with` block. A host in the bench file (./bench.toml) comes first; without one, this computer stands
    in for a target whose transport is "process". RecipeError for a wrong bench file."""
    path = bench or BENCH
    entry = read_bench(path).get(target.name)
    if entry is not None and entry.host:
        return SshComputer(target.name, SshHost(entry.host, accept_new_host_key), wheels)
    if target.device.transport == "process":
        return ProcessComputer(target.name)
    raise DeviceError(
        f'nothing says where {target.name} is. Write `[{target.name}]` and `host = "pi@raspberrypi"` (what you type after '
        f"ssh) into {path}."
    )


def clean(target: Target, *, bench: Path | None = None) -> str:
    """Remove what this program put on the target's computer; says what was done."""
    computer = open_computer(target, bench=bench)
    if isinstance(computer, SshComputer):
        computer.clean()
        return f"{computer.where}: removed ~/.cache/tinyml-pipeline"
    return f"{target.name} has no host in {bench or BENCH}: nothing to remove"


def energy(measurement: LinuxMeasurement, target: Target) -> tuple[float, str] | None:
    """(microjoules of one int8 inference, "measured" or "estimated"): from its own power chip with idle subtracted, else the
    whole board's datasheet power times the latency. None where this computer stood in: its latency is not the board's."""
    if measurement.rails:
        return measurement.rails.energy_uj, "measured"
    if measurement.clock == "host":
        return None
    return energy_uj(target.power, measurement.int8.timing.percentile_us(50)), "estimated"
