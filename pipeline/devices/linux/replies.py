"""The runner's answers as typed values. Another computer gives them, so nothing in them is trusted: keys, types and bounds
are checked here, once. Those that a measurement keeps (info, state, the operators) are in pipeline/measurement/linux.py."""

from __future__ import annotations

import base64
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pipeline.display import short
from pipeline.ir import Array
from pipeline.measurement.linux import MAX_CORES, EngineOptions, Operator
from pipeline.strict import limits

SLACK = 0.02  # clocks of one computer drift less than this, in a window of seconds
LONGEST_NS = 10**15  # eleven days: no request takes so long, and sums stay far from 2**63
MAX_RUNS = 10**9
MAX_RANK = 8
MAX_OPERATORS = 10_000
MAX_SAMPLES, MAX_TEXT = 3000, 8192  # the runner's own limits
MAX_QUOTED = 600  # characters of another computer's words in a message
UNSHOWN = frozenset({"data", "text"})  # keys of text that only programs read, each checked by its reader


@dataclass(frozen=True, slots=True)
class WireArray:
    """An array as it travels, `data` in base64 and `crc32` of its bytes, whole."""

    dtype: Literal["uint8", "int8", "int32", "int64", "float32"]
    data: str
    shape: tuple[int, ...] = limits(low=1, high=2**31)
    crc32: int = limits(low=0, high=2**32 - 1)

    def __post_init__(self) -> None:
        size = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        try:
            raw = base64.b64decode(self.data, validate=True)
        except ValueError:
            raw = b""
        if len(self.shape) > MAX_RANK or len(raw) != size or zlib.crc32(raw) != self.crc32:
            raise ValueError(f"the array is damaged: {len(raw):,} bytes, of this checksum or another, for {size:,}.")

    def array(self) -> Array:
        return np.frombuffer(base64.b64decode(self.data), self.dtype).reshape(self.shape)


def encode(array: Array) -> dict[str, Any]:
    """An array for a request."""
    raw = np.ascontiguousarray(array).tobytes()
    data = base64.b64encode(raw).decode("ascii")
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data, "crc32": zlib.crc32(raw)}


@dataclass(frozen=True, slots=True)
class Hello:
    """What a runner says first."""

    protocol: int


@dataclass(frozen=True, slots=True)
class Loaded:
    options: EngineOptions
    engine_version: str
    import_ns: int = limits(low=0, high=LONGEST_NS)
    load_ns: int = limits(low=0, high=LONGEST_NS)


@dataclass(frozen=True, slots=True)
class Fed:
    """The first answer to the input, and how long it took."""

    outputs: tuple[WireArray, ...]
    first_ns: int = limits(low=0, high=LONGEST_NS)


@dataclass(frozen=True, slots=True)
class WarmedUp:
    steady: bool
    runs: int = limits(low=1, high=MAX_RUNS)


@dataclass(frozen=True, slots=True)
class Memory:
    peak_rss_bytes: int = limits(low=0, high=2**50)


@dataclass(frozen=True, slots=True)
class Profiled:
    nodes: tuple[Operator, ...] | None  # None where the engine can not tell

    def __post_init__(self) -> None:
        _at_most(MAX_OPERATORS, nodes=self.nodes or ())


@dataclass(frozen=True, slots=True)
class Throughput:
    per_second: float = limits(low=0.0, high=1e9)


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Nanoseconds that passed by each of the computer's clocks; one that was set back gives less than none."""

    monotonic_ns: int = limits(low=-(2**62), high=2**62)
    raw_ns: int = limits(low=-(2**62), high=2**62)
    boot_ns: int = limits(low=-(2**62), high=2**62)
    wall_ns: int = limits(low=-(2**62), high=2**62)

    def problem(self, seconds_here: float) -> str | None:
        """What is wrong with the clocks, when this took `seconds_here` by this computer's; None when nothing is."""
        seconds = {name: ns / 1e9 for name, ns in asdict(self).items()}
        own = seconds["monotonic_ns"]
        allowed = max(0.05, SLACK * abs(own))
        for name, other in seconds.items():
            if abs(other - own) > allowed:
                which = name.removesuffix("_ns")
                return f"its clock jumped by {other - own:+.1f} s during the measurement ({which} against monotonic)"
        if own > seconds_here * (1 + SLACK) + 0.05 or own < 0:
            return f"its clock counted {own:.2f} s while {seconds_here:.2f} s passed here"
        return None


@dataclass(frozen=True, slots=True)
class Window:
    """What passed meanwhile; `others_cores`: how many cores' worth other processes used."""

    elapsed: Elapsed
    others_cores: float = limits(low=0.0, high=MAX_CORES)


@dataclass(frozen=True, slots=True)
class Timed:
    """Nanoseconds of each run, by model; `reached`: each median is as certain as was asked for."""

    ticks_ns: Mapping[str, WireArray]
    reached: bool
    window: Window

    def __post_init__(self) -> None:
        for name, wire in self.ticks_ns.items():
            ticks = wire.array()
            if (
                ticks.dtype != np.int64
                or ticks.ndim != 1
                or not ticks.size
                or not 0 < ticks.min() <= ticks.max() < LONGEST_NS
            ):
                raise ValueError(f"ticks_ns.{name} must be nanoseconds above zero, one int64 for each run.")


@dataclass(frozen=True, slots=True)
class RailSample:
    """What `vcgencmd pmic_read_adc` printed at a time of the computer's monotonic clock."""

    text: str
    ns: int = limits(low=0, high=2**62)

    def __post_init__(self) -> None:
        if len(self.text) > MAX_TEXT or re.search(r"\d{12}", self.text):
            raise ValueError(f"text is no reading of a power chip's rails: {self.text[:80]!r}.")


@dataclass(frozen=True, slots=True)
class Sampled:
    """While nothing or a model ran, `runs` times in `elapsed_ns`."""

    samples: tuple[RailSample, ...]
    runs: int = limits(low=0, high=MAX_RUNS)
    elapsed_ns: int = limits(low=1, high=LONGEST_NS)

    def __post_init__(self) -> None:
        _at_most(MAX_SAMPLES, samples=self.samples)


@dataclass(frozen=True, slots=True)
class Replayed:
    outputs: tuple[WireArray, ...]


def _at_most(most: int, **lists: tuple[Any, ...]) -> None:
    for name, values in lists.items():
        if len(values) > most:
            raise ValueError(f"{name} has {len(values):,} entries; {most:,} are the most there can be.")


def shown(value: Any) -> Any:
    """A JSON value whose strings may be shown: on one line, without a terminal's escapes, of bounded length."""
    if isinstance(value, str):
        return short(value[: 4 * MAX_QUOTED], MAX_QUOTED)
    if isinstance(value, list):
        return [shown(v) for v in value]
    if isinstance(value, dict):
        return {shown(k): v if k in UNSHOWN else shown(v) for k, v in value.items()}
    return value
