"""What passed on each of the computer's clocks, and what other processes did meanwhile."""

from __future__ import annotations

import os
import time
from typing import Any

from system import text_of


class Window:
    """Between the start and `close`."""

    def __init__(self) -> None:
        self._before = read_clocks()
        self._busy, self._own = busy_s(), own_s()

    def close(self) -> dict[str, Any]:
        """`elapsed`: nanoseconds by each clock; `others_cores`: how many cores' worth other processes used."""
        after = read_clocks()
        elapsed = {name: after[name] - self._before[name] for name in after}
        others = max(0.0, (busy_s() - self._busy) - (own_s() - self._own))
        seconds = max(elapsed["monotonic_ns"] / 1e9, 1e-9)
        return {"elapsed": elapsed, "others_cores": others / seconds}


def read_clocks() -> dict[str, int]:
    return {
        "monotonic_ns": time.monotonic_ns(),
        "raw_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW),
        "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        "wall_ns": time.time_ns(),
    }


def busy_s() -> float:
    """CPU seconds that all processes have used since boot."""
    line = (text_of("/proc/stat") or "").split("\n", 1)[0].split()
    if len(line) < 8:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq = map(int, line[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def own_s() -> float:
    """CPU seconds that this process and its ended children have used."""
    return sum(os.times()[:4])
