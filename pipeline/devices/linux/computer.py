"""Which Linux computer stands behind a target: the one on the bench, else this one in its place."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

from pipeline.devices.bench import BENCH, BenchEntry, bench_entry, require_bench
from pipeline.devices.linux.process import ProcessComputer
from pipeline.devices.linux.ssh import SshComputer
from pipeline.devices.linux.ssh_connect import SshHost
from pipeline.errors import DeviceError, RecipeError
from pipeline.measurement.linux import LinuxMeasurement
from pipeline.power.base import EnergyMeter
from pipeline.power.model import energy_uj
from pipeline.power.ppk2 import Ppk2
from pipeline.target import Target


def open_computer(
    target: Target, *, bench: Path | None = None, accept_new_host_key: bool = False, wheels: Path | None = None
) -> ProcessComputer | SshComputer:
    """To be used in a `with` block. A host in the bench file (./bench.toml) comes first; without one, this computer stands
    in for a target whose transport is "process". RecipeError for a wrong bench file."""
    path = bench or BENCH
    entry = bench_entry(target, bench)
    if entry is not None:
        return SshComputer(
            target.name,
            SshHost(entry.host, accept_new_host_key),
            wheels or _wheels(path, target, entry),
            target.device.model,
        )
    if target.device.transport == "process":
        return ProcessComputer(target.name)
    raise DeviceError(
        f'nothing says where {target.name} is. Write `[{target.name}]` and `host = "pi@raspberrypi"` (what you type after '
        f"ssh) into {path}."
    )


def _wheels(path: Path, target: Target, entry: BenchEntry) -> Path | None:
    """The bench file's folder of wheels; relative to that file."""
    if entry.wheels is None:
        return None
    folder = path.parent / entry.wheels.expanduser()
    if not any(folder.glob("*.whl")):
        raise RecipeError(
            f"{path}: {target.name}.wheels: {folder} holds no .whl file. Put the wheels of numpy and onnxruntime for that "
            "computer there (pip download --platform ...), or leave the key out."
        )
    return folder


def open_meter(target: Target, *, bench: Path | None = None) -> AbstractContextManager[EnergyMeter | None]:
    """The meter that the bench file names for the target, to be entered before its computer, which it may feed; None when
    there is none. Power is left on: cut under a running computer, it damages the file system."""
    entry = bench_entry(target, bench)
    if entry is None or entry.meter is None:
        return nullcontext()
    return Ppk2(entry.meter_port, entry.supply_mv, entry.meter_mode, keep_power=True)


def clean(target: Target, *, bench: Path | None = None) -> str:
    """Remove what this program put on the target's computer; says what was done. RecipeError
    when `bench` is not there."""
    require_bench(bench)
    computer = open_computer(target, bench=bench)
    if isinstance(computer, SshComputer):
        computer.clean()
        return f"{computer.where}: removed ~/.cache/tinyml-pipeline"
    return f"{target.name} has no host in {bench or BENCH}: nothing to remove"


def energy(measurement: LinuxMeasurement, target: Target) -> tuple[float, Literal["measured", "estimated"]] | None:
    """(microjoules of one int8 inference, "measured" or "estimated"): from its own power chip or an external meter, idle
    subtracted, else the whole board's datasheet power times the latency. None where this computer stood in: its latency is
    not the board's."""
    if measurement.measured_energy:
        return measurement.measured_energy.energy_uj, "measured"
    if measurement.clock == "host":
        return None
    return energy_uj(target.power, measurement.int8.timing.percentile_us(50)), "estimated"
