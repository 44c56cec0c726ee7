"""Measuring models on a Linux computer: cold start and memory each in a process of its own, latencies in one together."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.devices.base import Clock
from pipeline.devices.linux_figures import Conditions, LinuxMeasurement, ModelFigures, Operator, Timing, why_invalid
from pipeline.devices.linux_protocol import ConnectionLost, Runner, decode, encode
from pipeline.errors import DeviceError, MismatchError
from pipeline.ir import Array
from pipeline.power.base import EnergyMeter, MeterEnergy, Samples, WindowEnergy, meter_energy
from pipeline.power.pmic import rail_energy
from pipeline.shown import short
from pipeline.strict import limits

SLACK = 0.02  # clocks of one computer drift less than this, in a window of seconds
IDLE_S, BUSY_S = 4.0, 6.0  # of power samples
GUARD_S = 0.1  # left out at a window's ends: a meter's first sample is not of the very moment when it was told to start
INT8, FLOAT = "int8", "float"
T = TypeVar("T")


class Computer(Protocol):
    """`ProcessComputer` or `SshComputer`."""

    @property
    def clock(self) -> Clock: ...
    @property
    def where(self) -> str: ...
    def runner(self) -> AbstractContextManager[Runner]: ...
    def place(self, file: Path) -> str: ...


@dataclass(frozen=True)
class LinuxSettings:
    """`threads` of one inference, on the cores `affinity` (none: any). Latencies are taken until the 95 % interval of each
    median is narrower than `interval` of it, for `seconds` at most."""

    threads: int = limits(1, low=1, high=64)
    affinity: tuple[int, ...] = limits((), low=0, high=255)
    seconds: float = limits(20.0, low=0.1, high=250.0)
    min_seconds: float = limits(1.0, low=0.0, high=60.0)
    interval: float = limits(0.01, low=0.001, high=0.5)
    throughput_seconds: float = limits(2.0, low=0.1, high=60.0)


def engines(computer: Computer) -> frozenset[str]:
    """What the computer can run models with, by the runner's names."""
    info, _ = _again_when_lost(lambda: _conditions(computer, 0.0))
    return frozenset(info["engines"])


def replay(computer: Computer, model: Path, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The model's answers to n inputs, each (n, *shape), as the computer gives them."""

    def attempt() -> tuple[Array, ...]:
        with computer.runner() as runner:
            _load(runner, computer, INT8, model, LinuxSettings())
            return runner.replay(INT8, inputs)

    return _again_when_lost(attempt)


def measure(
    computer: Computer,
    models: Mapping[str, Path],
    inputs: Sequence[Array],
    settings: LinuxSettings | None = None,
    meter: EnergyMeter | None = None,
) -> LinuxMeasurement:
    """Time `models` ("int8", and "float" if there is one) on one input each, (*shape). Lost connections are set up again and
    the step repeated; a clock that jumps gets a second chance. `meter`, entered, sits in the computer's supply. DeviceError
    names computer, or meter, and step."""
    s = settings or LinuxSettings()
    info, before = _again_when_lost(lambda: _conditions(computer, 1.0))
    alone = {n: _again_when_lost(partial(_alone, computer, n, m, inputs, s, info["cores"])) for n, m in models.items()}
    timings, others_cores = _again_when_lost(lambda: _together(computer, models, inputs, s))
    rails = _again_when_lost(lambda: _rails(computer, models[INT8], inputs, s)) if info["pmic"] else None
    metered = _again_when_lost(lambda: _metered(computer, models[INT8], inputs, s, meter)) if meter else None
    _, after = _again_when_lost(lambda: _conditions(computer, 0.2))
    figures = {n: _figures(models[n], alone[n], timings[n]) for n in models}
    return LinuxMeasurement(
        device=short(f"{info['model']}, {info['os']}, Linux {info['kernel']}", 200),
        clock=computer.clock,
        computer=info,
        int8=figures[INT8],
        float32=figures.get(FLOAT),
        before=before,
        after=after,
        others_cores=others_cores,
        rails=rails,
        meter=metered,
        invalid=tuple(why_invalid(before, after, others_cores)),
        warnings=(*_warnings(figures, before), *_doubts(metered)),
    )


def _again_when_lost(action: Callable[[], T]) -> T:
    """Once more, on a connection of its own: a runner keeps nothing, so starting again is safe."""
    try:
        return action()
    except ConnectionLost:
        return action()


def _conditions(computer: Computer, seconds: float) -> tuple[dict[str, Any], Conditions]:
    with computer.runner() as runner:
        info = {k: v for k, v in runner.ask("info").items() if k not in ("id", "ok")}
        return info, Conditions.read(runner.ask("state", seconds=seconds))


def _load(runner: Runner, computer: Computer, name: str, model: Path, s: LinuxSettings, **options: Any) -> dict[str, Any]:
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    wanted = {"threads": s.threads, "affinity": list(s.affinity), **options}
    return runner.ask("load", 120.0, name=name, file=computer.place(model), sha256=digest, **wanted)


def _alone(
    computer: Computer, name: str, model: Path, inputs: Sequence[Array], s: LinuxSettings, cores: int
) -> dict[str, Any]:
    """Answers of the runner by operation: what needs a fresh process."""
    arrays = [encode(x) for x in inputs]
    with computer.runner() as runner:
        found = {"load": _load(runner, computer, name, model, s), "feed": runner.ask("feed", name=name, inputs=arrays)}
        found["warmup"] = runner.ask("warmup", 120.0, name=name)
        found["memory"] = runner.ask("memory")
        found["profile"] = runner.ask("profile", 300.0, name=name)
        seconds = s.throughput_seconds
        found["throughput"] = runner.ask("throughput", seconds + 120, name=name, workers=cores, seconds=seconds)
    if cores > 1 and not s.affinity:
        with computer.runner() as runner:
            _load(runner, computer, name, model, s, threads=cores)
            runner.ask("feed", name=name, inputs=arrays)
            runner.ask("warmup", 120.0, name=name)
            found["all_cores"] = {**_timed(runner, [name], s), "threads": cores}
    return found


def _together(
    computer: Computer, models: Mapping[str, Path], inputs: Sequence[Array], s: LinuxSettings
) -> tuple[dict[str, Timing], float]:
    """Latencies of all models, taken in turns in one process, and how much of a core other processes used meanwhile."""
    with computer.runner() as runner:
        answers = {}
        for name, model in models.items():
            _load(runner, computer, name, model, s)
            answers[name] = runner.ask("feed", name=name, inputs=[encode(x) for x in inputs])["outputs"]
            runner.ask("warmup", 120.0, name=name)
        answer = _timed(runner, list(models), s)
        for name in models:
            again = runner.ask("feed", name=name, inputs=[encode(x) for x in inputs])["outputs"]
            if again != answers[name]:
                raise MismatchError(
                    f"{runner.where}: time: model {name!r} gave other bytes after many runs than before them."
                )
    ticks = {n: decode(answer["ticks_ns"][n]) for n in models}
    timings = {n: Timing(tuple(int(t) for t in ticks[n]), s.threads, answer["reached"]) for n in models}
    return timings, float(answer["window"]["others_cores"])


def _timed(runner: Runner, names: list[str], s: LinuxSettings) -> dict[str, Any]:
    """The runner's `time`, once more when its clocks disagreed."""
    for attempt in (1, 2):
        start = time.monotonic()
        answer = runner.ask(
            "time",
            s.seconds + 60,
            names=names,
            seconds=s.seconds,
            min_seconds=min(s.min_seconds, s.seconds),
            interval=s.interval,
        )
        problem = clock_problem(answer["window"]["elapsed"], time.monotonic() - start)
        if problem is None:
            return answer
        if attempt == 2:
            raise DeviceError(
                f"{runner.where}: time: {problem}, twice. Wait until its time is synchronised (timedatectl), run again."
            )
    raise AssertionError("the second attempt returns or raises")


def clock_problem(elapsed_ns: Mapping[str, int], seconds_here: float) -> str | None:
    """What is wrong with the computer's clocks over a window that took `seconds_here` by this computer's clock, or None."""
    seconds = {name: ns / 1e9 for name, ns in elapsed_ns.items()}
    own = seconds["monotonic_ns"]
    allowed = max(0.05, SLACK * abs(own))
    for name, other in seconds.items():
        if abs(other - own) > allowed:
            which = name.removesuffix("_ns")
            return f"its clock jumped by {other - own:+.1f} s during the measurement ({which} against monotonic)"
    if own > seconds_here * (1 + SLACK) + 0.05 or own < 0:
        return f"its clock counted {own:.2f} s while {seconds_here:.2f} s passed here"
    return None


@contextmanager
def _fed(computer: Computer, model: Path, inputs: Sequence[Array], s: LinuxSettings) -> Iterator[Runner]:
    with computer.runner() as runner:
        _load(runner, computer, INT8, model, s)
        runner.ask("feed", name=INT8, inputs=[encode(x) for x in inputs])
        yield runner


def _rails(computer: Computer, model: Path, inputs: Sequence[Array], s: LinuxSettings) -> WindowEnergy:
    with _fed(computer, model, inputs, s) as runner:
        idle = runner.ask("power", IDLE_S + 60, seconds=IDLE_S)
        busy = runner.ask("power", BUSY_S + 60, name=INT8, seconds=BUSY_S)
    at_rest, at_work = ([(int(t), str(text)) for t, text in answer["samples"]] for answer in (idle, busy))
    return rail_energy(at_rest, at_work, elapsed_ns=int(busy["elapsed_ns"]), runs=int(busy["runs"]))


def _metered(computer: Computer, model: Path, inputs: Sequence[Array], s: LinuxSettings, meter: EnergyMeter) -> MeterEnergy:
    with _fed(computer, model, inputs, s) as runner:
        _, idle, at_rest = _window(runner, meter, IDLE_S)
        busy, samples, at_work = _window(runner, meter, BUSY_S, name=INT8)
    return meter_energy(meter.name, idle, samples, (at_rest, at_work), int(busy["elapsed_ns"]), int(busy["runs"]))


def _window(
    runner: Runner, meter: EnergyMeter, seconds: float, **fields: Any
) -> tuple[dict[str, Any], Samples, tuple[float, float]]:
    """The runner's answer, the meter's samples meanwhile, and between which of their seconds the runner was surely at it:
    it began after the request and ended before the answer, so whatever the delays, the overlap of the earliest and the
    latest possible window is inside."""
    meter.start()
    began = time.monotonic()
    try:
        answer = runner.ask("power", seconds + 60, seconds=seconds, interval=5.0, **fields)
        ended = time.monotonic() - began
    except BaseException:
        with suppress(DeviceError):
            meter.stop()
        raise
    samples = meter.stop()
    elapsed = answer["elapsed_ns"] / 1e9
    return answer, samples, (ended - elapsed + GUARD_S, elapsed - GUARD_S)


def _doubts(metered: MeterEnergy | None) -> list[str]:
    return [f"{metered.meter}: {doubt}; its energy is not quoted" for doubt in metered.invalid] if metered else []


def _figures(model: Path, alone: dict[str, Any], timing: Timing) -> ModelFigures:
    load, first = alone["load"], alone["feed"]["first_ns"]
    nodes, every = alone["profile"]["nodes"], alone.get("all_cores")
    return ModelFigures(
        file=model.name,
        engine=f"{load['options']['engine']} {load['engine_version']}",
        options=load["options"],
        load_ms=load["load_ns"] / 1e6,
        cold_start_ms=(load["import_ns"] + load["load_ns"] + first) / 1e6,
        warmup_runs=alone["warmup"]["runs"],
        warm=alone["warmup"]["steady"],
        peak_rss_bytes=alone["memory"]["peak_rss_bytes"],
        timing=timing,
        all_cores=_all_cores(every) if every else None,
        per_second=alone["throughput"]["per_second"],
        operators=None if nodes is None else tuple(Operator(n["node"], n["operator"], n["us"]) for n in nodes),
    )


def _all_cores(answer: dict[str, Any]) -> Timing:
    (ticks,) = answer["ticks_ns"].values()
    return Timing(tuple(int(t) for t in decode(ticks)), answer["threads"], answer["reached"])


def _warnings(figures: Mapping[str, ModelFigures], before: Conditions) -> list[str]:
    found = []
    if FLOAT in figures:
        int8, float32 = (figures[n].timing.percentile_us(50) for n in (INT8, FLOAT))
        if int8 > float32:
            unfused = sum(o.operator in ("QuantizeLinear", "DequantizeLinear") for o in figures[INT8].operators or ())
            why = f"{unfused} of its nodes were not fused" if unfused else "every node is fused, so it is too small to gain"
            found.append(
                f"int8 is slower than float32 here: {int8:.0f} us against {float32:.0f} us; {why}. The float file may "
                "be the better choice on this computer"
            )
    for name, f in figures.items():
        if not f.timing.reached:
            found.append(
                f"{name}: the median's 95 % interval is still wider than asked for; measure longer or quieten the computer"
            )
        if not f.warm:
            found.append(f"{name}: latencies had not settled when the warm-up ended")
    if before.governors and before.governors != ("performance",):
        found.append(f"the CPU governor is {', '.join(before.governors)}; latencies of short models depend on it")
    return found
