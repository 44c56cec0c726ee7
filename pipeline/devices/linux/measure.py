"""Measuring models on a Linux computer: cold start and memory each in a process of its own, latencies in one together."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pipeline.devices.linux import replies
from pipeline.devices.linux.protocol import ConnectionLost, Runner
from pipeline.display import short
from pipeline.errors import DeviceError, MismatchError
from pipeline.ir import Array
from pipeline.measurement.board import Clock
from pipeline.measurement.linux import (
    ComputerInfo,
    Conditions,
    LinuxMeasurement,
    ModelFigures,
    Timing,
    warnings,
    why_invalid,
)
from pipeline.power.base import EnergyMeter, MeterEnergy, Samples, WindowEnergy, meter_energy
from pipeline.power.pmic import rail_energy
from pipeline.strict import limits

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
    median is narrower than `interval` of it, for `seconds` at most; a throughput, too."""

    threads: int = limits(1, low=1, high=64)
    affinity: tuple[int, ...] = limits((), low=0, high=255)
    seconds: float = limits(20.0, low=0.1, high=250.0)
    min_seconds: float = limits(1.0, low=0.0, high=60.0)
    interval: float = limits(0.01, low=0.001, high=0.5)
    throughput_seconds: float = limits(2.0, low=0.1, high=60.0)


def engines(computer: Computer) -> frozenset[str]:
    """What the computer can run models with, by the runner's names."""
    info, _ = _again_when_lost(lambda: _conditions(computer, 0.0))
    return frozenset(info.engines)


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
    alone = {n: _again_when_lost(partial(_alone, computer, n, m, inputs, s, info.cores)) for n, m in models.items()}
    timings, others_cores = _again_when_lost(lambda: _together(computer, models, inputs, s))
    rails = _again_when_lost(lambda: _rails(computer, models[INT8], inputs, s)) if info.pmic else None
    metered = _again_when_lost(lambda: _metered(computer, models[INT8], inputs, s, meter)) if meter else None
    _, after = _again_when_lost(lambda: _conditions(computer, 0.2))
    figures = {n: _figures(models[n], alone[n], timings[n]) for n in models}
    return LinuxMeasurement(
        device=short(f"{info.model}, {info.os}, Linux {info.kernel}", 200),
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
        warnings=(*warnings(figures[INT8], figures.get(FLOAT), before), *_meter_warnings(metered)),
    )


def _again_when_lost(action: Callable[[], T]) -> T:
    """Once more, on a connection of its own: a runner keeps nothing, so starting again is safe."""
    try:
        return action()
    except ConnectionLost:
        return action()


def _conditions(computer: Computer, seconds: float) -> tuple[ComputerInfo, Conditions]:
    with computer.runner() as runner:
        return runner.ask_for(ComputerInfo, "info"), runner.ask_for(Conditions, "state", seconds=seconds)


def _load(runner: Runner, computer: Computer, name: str, model: Path, s: LinuxSettings, **options: Any) -> replies.Loaded:
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    wanted = {"threads": s.threads, "affinity": list(s.affinity), **options}
    return runner.ask_for(replies.Loaded, "load", 120.0, name=name, file=computer.place(model), sha256=digest, **wanted)


def _feed(runner: Runner, name: str, inputs: Sequence[Array]) -> replies.Fed:
    return runner.ask_for(replies.Fed, "feed", name=name, inputs=[replies.encode(x) for x in inputs])


def _warm_up(runner: Runner, name: str) -> replies.WarmedUp:
    return runner.ask_for(replies.WarmedUp, "warmup", 120.0, name=name)


@dataclass(frozen=True)
class _Alone:
    """What needs a fresh process for each model, in the order in which it is asked for."""

    load: replies.Loaded
    feed: replies.Fed
    warmup: replies.WarmedUp
    memory: replies.Memory
    profile: replies.Profiled
    throughput: replies.Throughput
    all_cores: Timing | None = None


def _alone(computer: Computer, name: str, model: Path, inputs: Sequence[Array], s: LinuxSettings, cores: int) -> _Alone:
    seconds = min(s.throughput_seconds, s.seconds)
    with computer.runner() as runner:
        found = _Alone(
            load=_load(runner, computer, name, model, s),
            feed=_feed(runner, name, inputs),
            warmup=_warm_up(runner, name),
            memory=runner.ask_for(replies.Memory, "memory"),
            profile=runner.ask_for(replies.Profiled, "profile", 300.0, name=name),
            throughput=runner.ask_for(
                replies.Throughput, "throughput", seconds + 120, name=name, workers=cores, seconds=seconds
            ),
        )
    if cores == 1 or s.affinity:
        return found
    with computer.runner() as runner:
        _load(runner, computer, name, model, s, threads=cores)
        _feed(runner, name, inputs)
        _warm_up(runner, name)
        return replace(found, all_cores=_timings(_timed(runner, [name], s), cores)[name])


def _together(
    computer: Computer, models: Mapping[str, Path], inputs: Sequence[Array], s: LinuxSettings
) -> tuple[dict[str, Timing], float]:
    """Latencies of all models, taken in turns in one process, and how much of a core other processes used meanwhile."""
    with computer.runner() as runner:
        answers = {}
        for name, model in models.items():
            _load(runner, computer, name, model, s)
            answers[name] = _feed(runner, name, inputs).outputs
            _warm_up(runner, name)
        timed = _timed(runner, list(models), s)
        for name in models:
            if _feed(runner, name, inputs).outputs != answers[name]:
                raise MismatchError(
                    f"{runner.where}: time: model {name!r} gave other bytes after many runs than before them."
                )
    return _timings(timed, s.threads), timed.window.others_cores


def _timings(timed: replies.Timed, threads: int) -> dict[str, Timing]:
    return {n: Timing(tuple(t.array().tolist()), threads, timed.reached) for n, t in timed.ticks_ns.items()}


def _timed(runner: Runner, names: list[str], s: LinuxSettings) -> replies.Timed:
    """The runner's `time`, once more when its clocks disagreed."""
    for attempt in (1, 2):
        start = time.monotonic()
        answer = runner.ask_for(
            replies.Timed,
            "time",
            s.seconds + 60,
            names=names,
            seconds=s.seconds,
            min_seconds=min(s.min_seconds, s.seconds),
            interval=s.interval,
        )
        if set(answer.ticks_ns) != set(names):
            raise runner.wrong(f"time.ticks_ns are of {sorted(answer.ticks_ns)}, not of {names}.")
        problem = answer.window.elapsed.problem(time.monotonic() - start)
        if problem is None:
            return answer
        if attempt == 2:
            raise DeviceError(
                f"{runner.where}: time: {problem}, twice. Wait until its time is synchronised (timedatectl), run again."
            )
    raise AssertionError("the second attempt returns or raises")


@contextmanager
def _fed(computer: Computer, model: Path, inputs: Sequence[Array], s: LinuxSettings) -> Iterator[Runner]:
    with computer.runner() as runner:
        _load(runner, computer, INT8, model, s)
        _feed(runner, INT8, inputs)
        yield runner


def _rails(computer: Computer, model: Path, inputs: Sequence[Array], s: LinuxSettings) -> WindowEnergy:
    with _fed(computer, model, inputs, s) as runner:
        idle, _ = _sampled(runner, IDLE_S)
        busy, _ = _sampled(runner, BUSY_S, name=INT8)
    at_rest, at_work = ([(sample.ns, sample.text) for sample in answer.samples] for answer in (idle, busy))
    try:
        return rail_energy(at_rest, at_work, elapsed_ns=busy.elapsed_ns, runs=busy.runs)
    except DeviceError as e:
        raise DeviceError(f"{computer.where}: power: {e}") from None


def _sampled(runner: Runner, seconds: float, **fields: Any) -> tuple[replies.Sampled, float]:
    """The runner's `power`, and the seconds from request to answer by this computer's clock: it can't have taken longer."""
    began = time.monotonic()
    answer = runner.ask_for(replies.Sampled, "power", seconds + 60, seconds=seconds, **fields)
    passed = time.monotonic() - began
    if answer.elapsed_ns / 1e9 > passed * (1 + replies.SLACK) + 0.05:
        raise runner.wrong(f"power.elapsed_ns = {answer.elapsed_ns} while {passed:.2f} s passed here.")
    return answer, passed


def _metered(computer: Computer, model: Path, inputs: Sequence[Array], s: LinuxSettings, meter: EnergyMeter) -> MeterEnergy:
    with _fed(computer, model, inputs, s) as runner:
        _, idle, at_rest = _window(runner, meter, IDLE_S)
        busy, samples, at_work = _window(runner, meter, BUSY_S, name=INT8)
    return meter_energy(meter.name, idle, samples, (at_rest, at_work), busy.elapsed_ns, busy.runs)


def _window(
    runner: Runner, meter: EnergyMeter, seconds: float, **fields: Any
) -> tuple[replies.Sampled, Samples, tuple[float, float]]:
    """The runner's answer, the meter's samples meanwhile, and between which of their seconds the runner was surely at it:
    it began after the request and ended before the answer, so whatever the delays, the overlap of the earliest and the
    latest possible window is inside."""
    meter.start()
    try:
        answer, ended = _sampled(runner, seconds, interval=5.0, **fields)
    except BaseException:
        with suppress(DeviceError):
            meter.stop()
        raise
    samples = meter.stop()
    elapsed = answer.elapsed_ns / 1e9
    return answer, samples, (ended - elapsed + GUARD_S, elapsed - GUARD_S)


def _meter_warnings(metered: MeterEnergy | None) -> list[str]:
    return [f"{metered.meter}: {doubt}; its energy is not quoted" for doubt in metered.invalid] if metered else []


def _figures(model: Path, alone: _Alone, timing: Timing) -> ModelFigures:
    load = alone.load
    return ModelFigures(
        file=model.name,
        engine=f"{load.options.engine} {load.engine_version}",
        options=load.options,
        load_ms=load.load_ns / 1e6,
        cold_start_ms=(load.import_ns + load.load_ns + alone.feed.first_ns) / 1e6,
        warmup_runs=alone.warmup.runs,
        warm=alone.warmup.steady,
        peak_rss_bytes=alone.memory.peak_rss_bytes,
        timing=timing,
        all_cores=alone.all_cores,
        per_second=alone.throughput.per_second,
        operators=alone.profile.nodes,
    )
