"""Energy from a datasheet: the part's active power at its reference clock, times the time: an estimate."""

from __future__ import annotations

from pipeline.target import Power


def energy_uj(power: Power, latency_us: float) -> float:
    """Microjoules of one inference: mW x us / 1000. Sleep, start-up, radio and regulator losses are not in it."""
    return power.active_mw * latency_us / 1000
