"""What an energy meter is, and the one way from power to energy: an idle window, a busy window, idle subtracted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from pipeline.errors import DeviceError
from pipeline.ir import Array

MIN_SAMPLES = 8
BLOCK_S = 0.1
"""Neighbouring samples of a fast meter are not independent; means over so long, many inferences each, nearly are."""
LOST_SHARE = 0.001
"""More samples lost than this, and the mean may be of what happened to come through."""


@dataclass(frozen=True, slots=True)
class WindowEnergy:
    """Of one inference, idle power subtracted. `interval_uj`: half the 95 % interval, from the samples' spread."""

    energy_uj: float
    interval_uj: float
    busy_mw: float
    idle_mw: float
    samples: int


@dataclass(frozen=True, slots=True)
class Samples:
    """What a meter read from start to stop: `t_seconds` by the meter's own clock from its first sample on, and `watts`, both
    (n,). `lost`: how many samples should have come and did not."""

    t_seconds: Array
    watts: Array
    rate_hz: float
    lost: int

    def blocks_mw(self, start: float, end: float) -> Array:
        """Mean power of each BLOCK_S between two times, in milliwatts: (m,), none where the window is too short."""
        edges = start + BLOCK_S * np.arange(math.floor(max(0.0, end - start) / BLOCK_S + 1e-6) + 1)
        first = np.searchsorted(self.t_seconds, edges)
        counts = np.diff(first)
        sums = np.diff(np.concatenate([[0.0], np.cumsum(self.watts)])[first])
        return np.asarray(1000 * sums[counts > 0] / counts[counts > 0])


class EnergyMeter(Protocol):
    """An instrument in the supply of the device, used in a `with` block. DeviceError names the meter and the step."""

    @property
    def name(self) -> str:
        """What and where: "ppk2 on /dev/ttyACM0"."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

    def start(self) -> None:
        """Begin to sample; returns when the meter was told."""

    def stop(self) -> Samples:
        """Everything since `start`."""


@dataclass(frozen=True, slots=True)
class MeterEnergy:
    """What an external meter says. `invalid`: why not to quote it (empty: measured); `energy` is None when there was too
    little to say anything. `lost` of both windows together."""

    meter: str
    rate_hz: float
    lost: int
    energy: WindowEnergy | None
    invalid: tuple[str, ...]


def window_energy(idle_mw: Array, busy_mw: Array, elapsed_ns: int, runs: int, source: str) -> WindowEnergy:
    """From power (n,) while idle and (m,) while `runs` inferences followed each other for `elapsed_ns`.

    DeviceError, naming `source`, when there are too few samples to say anything."""
    if min(len(idle_mw), len(busy_mw)) < MIN_SAMPLES or runs < 1:
        raise DeviceError(
            f"{source} gave {len(idle_mw)} idle and {len(busy_mw)} busy samples during {runs} inferences; at least "
            f"{MIN_SAMPLES} of each are needed. Measure longer."
        )
    idle, busy = float(idle_mw.mean()), float(busy_mw.mean())
    us = elapsed_ns / 1000 / runs  # mW x us = nJ
    spread = 1.96 * math.hypot(*(float(p.std(ddof=1)) / math.sqrt(len(p)) for p in (idle_mw, busy_mw))) * us / 1000
    return WindowEnergy((busy - idle) * us / 1000, spread, busy, idle, len(idle_mw) + len(busy_mw))


def meter_energy(
    meter: str,
    idle: Samples,
    busy: Samples,
    spans: tuple[tuple[float, float], tuple[float, float]],
    elapsed_ns: int,
    runs: int,
) -> MeterEnergy:
    """As `window_energy`, from a meter's samples between the seconds `spans` (idle, busy), with reasons to doubt it."""
    invalid, energy = [], None
    try:
        at_rest, at_work = (samples.blocks_mw(*span) for samples, span in zip((idle, busy), spans, strict=True))
        energy = window_energy(at_rest, at_work, elapsed_ns, runs, f"in means over {BLOCK_S} s it")
        if energy.energy_uj <= energy.interval_uj:
            invalid.append(
                "the device drew no more at work than idle, within the spread: is it this one that the meter feeds?"
            )
    except DeviceError as e:
        invalid.append(f"the window is too short: {str(e).rstrip('.')}")
    lost, due = idle.lost + busy.lost, len(idle.watts) + len(busy.watts) + idle.lost + busy.lost
    if lost > LOST_SHARE * due:
        invalid.append(f"{lost} of {due} samples were lost: use a USB port of this computer's own, and quieten the computer")
    return MeterEnergy(meter, idle.rate_hz, lost, energy, tuple(invalid))
