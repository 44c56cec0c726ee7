"""Energy on a Raspberry Pi 5 from its power chip, which measures voltage and current of its own rails (`vcgencmd
pmic_read_adc`). What does not pass through it (USB, fan, the supply's own loss) is not in the figure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from pipeline.errors import DeviceError
from pipeline.power.base import WindowEnergy, window_energy

_LINE = re.compile(r"\s*(?P<rail>\w+)_(?P<kind>[AV])\s+(?:current|volt)\(\d+\)=(?P<value>\d+(?:\.\d+)?)[AV]\s*")

Sample = tuple[int, str]
"""(monotonic nanoseconds, the command's output)."""


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


def rail_energy(idle: Sequence[Sample], busy: Sequence[Sample], elapsed_ns: int, runs: int) -> WindowEnergy:
    """From samples of an idle window and of one in which `runs` inferences followed each other for `elapsed_ns`.

    DeviceError when there are too few samples to say anything."""
    at_rest, at_work = (np.array([power_mw(t) for _, t in s]) for s in (idle, busy))
    return window_energy(at_rest, at_work, elapsed_ns, runs, "the power rails")
