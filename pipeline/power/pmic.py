"""Energy on a Raspberry Pi 5 from its power chip, which measures voltage and current of its own rails (`vcgencmd
pmic_read_adc`). What does not pass through it (USB, fan, the supply's own loss) is not in the figure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import DeviceError

MIN_SAMPLES = 8
_LINE = re.compile(r"\s*(?P<rail>\w+)_(?P<kind>[AV])\s+(?:current|volt)\(\d+\)=(?P<value>\d+(?:\.\d+)?)[AV]\s*")

Sample = tuple[int, str]
"""(monotonic nanoseconds, the command's output)."""


@dataclass(frozen=True, slots=True)
class RailEnergy:
    """Of one inference, idle power subtracted. `interval_uj`: half the 95 % interval, from the samples' spread."""

    energy_uj: float
    interval_uj: float
    busy_mw: float
    idle_mw: float
    samples: int


def power_mw(text: str) -> float:
    """The sum over all rails that report both volts and amperes. DeviceError when there is none."""
    found: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        if match := _LINE.fullmatch(line):
            found.setdefault(match["rail"], {})[match["kind"]] = float(match["value"])
    rails = [r["A"] * r["V"] for r in found.values() if len(r) == 2]
    if not rails:
        raise DeviceError(f"vcgencmd pmic_read_adc reports no rail with both current and voltage: {text[:120]!r}.")
    return 1000 * sum(rails)


def rail_energy(idle: Sequence[Sample], busy: Sequence[Sample], elapsed_ns: int, runs: int) -> RailEnergy:
    """From samples of an idle window and of one in which `runs` inferences followed each other for `elapsed_ns`.

    DeviceError when there are too few samples to say anything."""
    if min(len(idle), len(busy)) < MIN_SAMPLES or runs < 1:
        raise DeviceError(
            f"the power rails gave {len(idle)} idle and {len(busy)} busy samples during {runs} inferences; at least "
            f"{MIN_SAMPLES} of each are needed. Measure longer."
        )
    (idle_mw, idle_error), (busy_mw, busy_error) = (_mean([power_mw(t) for _, t in s]) for s in (idle, busy))
    us = elapsed_ns / 1000 / runs  # mW x us = nJ
    spread = 1.96 * math.hypot(idle_error, busy_error) * us / 1000
    return RailEnergy((busy_mw - idle_mw) * us / 1000, spread, busy_mw, idle_mw, len(idle) + len(busy))


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
