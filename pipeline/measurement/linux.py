"""What a measurement on a Linux computer says. Nothing here connects to anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from pipeline.measurement.board import Clock
from pipeline.power.base import MeterEnergy, WindowEnergy
from pipeline.strict import limits

OTHERS_CORES = 0.1
"""More than this much of a core for other processes, and the computer was not idle."""
MAX_CORES = 1024
THROTTLED_SINCE_BOOT = 0xF0000
THROTTLED = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""Bits of `vcgencmd get_throttled`; sixteen higher: has happened since boot."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Every run of one model, batch 1. `reached`: the 95 % interval of the median is narrower than was asked for."""

    ticks_ns: tuple[int, ...]
    threads: int
    reached: bool

    def percentile_us(self, percent: float) -> float:
        return float(np.percentile(self.ticks_ns, percent)) / 1000

    def summary(self) -> dict[str, float]:
        names = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
        return {f"latency_us_{name}": self.percentile_us(p) for name, p in names.items()} | {"runs": len(self.ticks_ns)}


@dataclass(frozen=True, slots=True)
class Operator:
    """One node as the engine ran it, mean microseconds of one inference."""

    node: str
    operator: str
    us: float = limits(low=0.0, high=1e12)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine runs a model: `threads` of one inference, kept to the cores `affinity`."""

    engine: Literal["onnxruntime", "ai_edge_litert", "tflite_runtime"]
    optimization: Literal["disable", "basic", "extended", "all"]
    spinning: bool
    affinity: tuple[int, ...] = limits(low=0, high=MAX_CORES)
    threads: int = limits(low=1, high=MAX_CORES)
    inter_threads: int = limits(low=1, high=MAX_CORES)


@dataclass(frozen=True, slots=True)
class ComputerInfo:
    """What a computer is. `model` is the board's own name for itself, `cores` those that the runner may use, `engines` their
    versions by import name, `pmic` whether it measures its own power, `venv` whether its Python can make environments."""

    model: str
    os: str
    kernel: str
    machine: str
    python: str
    executable: str
    libc: str
    engines: Mapping[str, str]
    pmic: bool
    venv: bool
    bits: int = limits(low=8, high=128)
    cores: int = limits(low=1, high=MAX_CORES)
    ram_bytes: int = limits(low=0, high=2**50)
    disk_free_bytes: int = limits(low=0, high=2**60)


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model in a process of its own. `cold_start_ms`: engine import, model load and first answer; the file was in the
    page cache. `operators` is None where the engine can not tell."""

    file: str
    engine: str
    options: EngineOptions
    load_ms: float
    cold_start_ms: float
    warmup_runs: int
    warm: bool
    peak_rss_bytes: int
    timing: Timing
    all_cores: Timing | None
    per_second: float  # batch 1 on each core at once
    operators: tuple[Operator, ...] | None


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the computer was doing. `throttled` is None where nothing can tell, `others_cores` counts cores' worth."""

    temperature_c: float | None = limits(low=-273.0, high=1000.0)
    governors: tuple[str, ...] = limits()
    frequencies_khz: tuple[int, ...] = limits(low=0, high=10**9)
    throttled: int | None = limits(low=0, high=2**32 - 1)
    others_cores: float = limits(low=0.0, high=MAX_CORES)

    def __post_init__(self) -> None:
        if max(len(self.governors), len(self.frequencies_khz)) > MAX_CORES:
            raise ValueError(f"governors or frequencies_khz of more than {MAX_CORES} cores.")


@dataclass(frozen=True, slots=True)
class LinuxMeasurement:
    """`invalid` says why the latencies must not be quoted (empty: they may); `warnings` what else a reader should know.
    `clock` is "device" on a Raspberry Pi and "host" where this computer stood in for one."""

    device: str
    clock: Clock
    computer: ComputerInfo
    int8: ModelFigures
    float32: ModelFigures | None
    before: Conditions
    after: Conditions
    others_cores: float  # while latencies were taken
    rails: WindowEnergy | None
    meter: MeterEnergy | None
    invalid: tuple[str, ...]
    warnings: tuple[str, ...]

    # What only microcontrollers' measurements have; a Linux computer's are None.
    instructions: ClassVar[None] = None
    cycles: ClassVar[None] = None
    cycles_low: ClassVar[None] = None
    cycles_high: ClassVar[None] = None
    stack_bytes: ClassVar[None] = None
    counter: ClassVar[Literal["clock"]] = "clock"

    @property
    def latency_us(self) -> tuple[float, ...]:
        """Of every run of the int8 model, batch 1."""
        return tuple(t / 1000 for t in self.int8.timing.ticks_ns)

    @property
    def ram_bytes(self) -> int:
        """The most the int8 model's process ever held, the engine included."""
        return self.int8.peak_rss_bytes

    @property
    def kind(self) -> Literal["measured", "host"]:
        """For metrics: what this computer did in a Pi's place is no measurement of one."""
        return "measured" if self.clock == "device" else "host"

    @property
    def measured_energy(self) -> WindowEnergy | None:
        """What the computer's power chip says, else an external meter, unless there is reason to doubt it. None where this
        computer stood in, since its power is not the board's."""
        if self.clock == "host":
            return None
        if self.rails or self.meter is None or self.meter.invalid:
            return self.rails
        return self.meter.energy

    def metrics(self) -> dict[str, float]:
        """Names with units, the float model's prefixed with float_."""
        found = _figures(self.int8)
        if self.float32:
            found |= {f"float_{k}": v for k, v in _figures(self.float32).items()}
            found["int8_speedup"] = self.float32.timing.percentile_us(50) / self.int8.timing.percentile_us(50)
        if energy := self.measured_energy:
            found |= {
                "energy_uj": energy.energy_uj,
                "idle_power_mw": energy.idle_mw,
                "busy_power_mw": energy.busy_mw,
            }
        if self.meter:
            found["meter_samples_lost"] = self.meter.lost
        return found | {"valid": float(not self.invalid)}


def _figures(m: ModelFigures) -> dict[str, float]:
    own = {
        "load_ms": m.load_ms,
        "cold_start_ms": m.cold_start_ms,
        "peak_rss_bytes": m.peak_rss_bytes,
        "inferences_per_second": m.per_second,
    }
    if m.all_cores:
        own["latency_us_p50_all_cores"] = m.all_cores.percentile_us(50)
    return m.timing.summary() | own


def why_invalid(before: Conditions, after: Conditions, others_cores: float) -> list[str]:
    """Reasons not to trust the latencies, in words."""
    reasons = []
    for when, c in (("before", before), ("after", after)):
        now = [word for bit, word in THROTTLED.items() if (c.throttled or 0) >> bit & 1]
        if now:
            reasons.append(f"it was throttled {when} the measurement ({', '.join(now)}): check power supply and cooling")
    new = (after.throttled or 0) & ~(before.throttled or 0) & THROTTLED_SINCE_BOOT
    if new and not reasons:
        words = ", ".join(word for bit, word in THROTTLED.items() if new >> (bit + 16) & 1)
        reasons.append(f"it was throttled during the measurement ({words}): check power supply and cooling")
    if others_cores > OTHERS_CORES:
        reasons.append(f"other processes used {others_cores:.2f} of a core meanwhile: stop them")
    elif before.others_cores > OTHERS_CORES:
        reasons.append(f"other processes used {before.others_cores:.2f} of a core before it began: stop them")
    return reasons


def warnings(int8: ModelFigures, float32: ModelFigures | None, before: Conditions) -> list[str]:
    """What else a reader of the latencies should know, in words."""
    found = []
    mine, others = (m.timing.percentile_us(50) for m in (int8, float32 or int8))
    if mine > others:
        unfused = sum(o.operator in ("QuantizeLinear", "DequantizeLinear") for o in int8.operators or ())
        why = f"{unfused} of its nodes were not fused" if unfused else "every node is fused, so it is too small to gain"
        found.append(
            f"int8 is slower than float32 here: {mine:.0f} us against {others:.0f} us; {why}. The float file may "
            "be the better choice on this computer"
        )
    for name, m in {"int8": int8, **({"float": float32} if float32 else {})}.items():
        if not m.timing.reached:
            found.append(
                f"{name}: the median's 95 % interval is still wider than asked for; measure longer or quieten the computer"
            )
        if not m.warm:
            found.append(f"{name}: latencies had not settled when the warm-up ended")
    if before.governors and before.governors != ("performance",):
        found.append(f"the CPU governor is {', '.join(before.governors)}; latencies of short models depend on it")
    return found
