"""The two devices that run models from files: the Linux computer on the desk, and this one in its place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from pipeline.artifacts import Firmware
from pipeline.devices.bench import ComputerEntry
from pipeline.devices.device import Counter, MissingError
from pipeline.devices.linux.process import ProcessComputer
from pipeline.devices.linux.ssh import SshComputer
from pipeline.devices.linux.ssh_connect import SshHost
from pipeline.errors import DeviceError, RecipeError
from pipeline.host.tools import Tool
from pipeline.measurement.linux import LinuxMeasurement
from pipeline.power.model import energy_uj
from pipeline.power.ppk2 import Ppk2
from pipeline.target import Target


@dataclass(frozen=True)
class _Computer:
    """What is the same for both: they need nothing but themselves, and take no firmware."""

    target: Target

    def tools(self) -> tuple[Tool, ...]:
        return ()

    def advice(self) -> str:
        return ""

    def flash(self, firmware: Firmware) -> NoReturn:
        raise _no_board(self.target)

    def open_board(self, firmware: Firmware, counter: Counter = "plugin") -> NoReturn:
        raise _no_board(self.target)


@dataclass(frozen=True)
class SshDevice(_Computer):
    """A Linux computer on the desk. `wheels`: a folder to install from when it has no engine and no network."""

    entry: ComputerEntry
    wheels: Path | None = None
    accept_new_host_key: bool = False

    @property
    def where(self) -> str:
        return f"{self.target.name} ({self.entry.host})"

    def require(self) -> None:
        """Of its meter; whether the host answers shows when it is opened."""
        port = self.entry.meter_port
        if port and "://" not in port and os.name == "posix" and not Path(port).exists():
            raise DeviceError(
                f"the meter of {self.where} is not at {port!r}: there is no such port. Plug it in, and check `meter_port` "
                "in bench.toml."
            )

    def open_computer(self) -> SshComputer:
        host = SshHost(self.entry.host, self.accept_new_host_key)
        return SshComputer(self.target.name, host, self.wheels, self.target.device.model)

    def meter(self) -> Ppk2:
        """Power is left on: cut under a running computer, it damages the file system."""
        if self.entry.meter is None:
            raise MissingError(
                f"the bench file names no meter of {self.where}: energy is what its own power chip says, where it has one, "
                f'else estimated. Where a PPK2 feeds it, add meter = "ppk2" and meter_port to [{self.target.name}].'
            )
        return Ppk2(self.entry.meter_port, self.entry.supply_mv, self.entry.meter_mode, keep_power=True)

    def clean(self) -> str:
        computer = self.open_computer()
        computer.clean()
        return f"{computer.where}: removed ~/.cache/tinyml-pipeline"


@dataclass(frozen=True)
class ProcessDevice(_Computer):
    """This computer in the place of a target that `bench`, the bench file, does not name."""

    bench: Path

    @property
    def where(self) -> str:
        return f"{self.target.name} (this computer)"

    def require(self) -> None:
        pass  # this computer is here

    def open_computer(self) -> ProcessComputer:
        return ProcessComputer(self.target.name)

    def meter(self) -> NoReturn:
        raise MissingError(
            f"this computer stands in for {self.target.name}, and its power is not that board's. Name the board's host in "
            f"{self.bench}."
        )

    def clean(self) -> str:
        return f"{self.target.name} has no host in {self.bench}: nothing to remove"


def wheels_folder(bench: Path, target: Target, entry: ComputerEntry) -> Path | None:
    """The bench file's folder of wheels; relative to that file. RecipeError when there are none."""
    if entry.wheels is None:
        return None
    folder = bench.parent / entry.wheels.expanduser()
    if not any(folder.glob("*.whl")):
        raise RecipeError(
            f"{bench}: {target.name}.wheels: {folder} holds no .whl file. Put the wheels of numpy and onnxruntime for that "
            "computer there (pip download --platform ...), or leave the key out."
        )
    return folder


def _no_board(target: Target) -> MissingError:
    return MissingError(
        f"{target.name} is a Linux computer: it runs models from files, no firmware. Take a target of family 'cortex_m': "
        "`pipeline targets` lists them."
    )


def energy(measurement: LinuxMeasurement, target: Target) -> tuple[float, Literal["measured", "estimated"]] | None:
    """(microjoules of one int8 inference, "measured" or "estimated"): from its own power chip or an external meter, idle
    subtracted, else the whole board's datasheet power times the latency. None where this computer stood in: neither its
    power nor its latency is the board's."""
    if measurement.clock == "host":
        return None
    if measurement.measured_energy:
        return measurement.measured_energy.energy_uj, "measured"
    return energy_uj(target.power, measurement.int8.timing.percentile_us(50)), "estimated"
