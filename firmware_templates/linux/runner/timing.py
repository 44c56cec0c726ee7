"""How long inferences take: `warmup`, `time`, `throughput`, and operator by operator in `profile`."""

# ruff: noqa: B905  (zip has no `strict` before Python 3.10)
from __future__ import annotations

import gc
import math
import os
import tempfile
import threading
from collections.abc import Sequence
from time import perf_counter_ns, sleep
from typing import Any

from arrays import crc32s, encode
from clocks import Window
from engines import OnnxRuntime
from fields import Refused, field
from models import MAX_MODELS, MAX_THREADS, Model, named

MAX_RUNS = 200_000
MAX_SECONDS = 300.0


def median_interval(samples: Sequence[int], sigmas: float = 1.96) -> tuple[int, float, int]:
    """(low, median, high): the distribution-free 95 % interval of the median."""
    s = sorted(samples)
    n, reach = len(s), sigmas * math.sqrt(len(s)) / 2
    low, high = max(0, math.floor(n / 2 - reach)), min(n - 1, math.ceil(n / 2 + reach))
    return s[low], (s[(n - 1) // 2] + s[n // 2]) / 2, s[high]


def timed_block(model: Model, runs: int) -> list[int]:
    """Nanoseconds of each of `runs` inferences."""
    ticks = []
    clock, run, feed = perf_counter_ns, model.engine.run, model.fed()
    for _ in range(runs):
        start = clock()
        run(feed)
        ticks.append(clock() - start)
    return ticks


def warmup(models: dict[str, Model], request: dict[str, Any]) -> dict[str, Any]:
    """Run until the medians of three windows in a row are within 3 %, at most `seconds`."""
    model, seconds = named(models, request), field(request, "seconds", float, 5.0, 0.01, MAX_SECONDS)
    start = perf_counter_ns()
    model.once()
    runs = max(5, min(1000, int(2e7 / max(perf_counter_ns() - start, 1))))
    medians, total = [], 1
    while True:
        medians.append(median_interval(timed_block(model, runs))[1])
        total += runs
        last = medians[-3:]
        steady = len(last) == 3 and max(last) <= 1.03 * min(last)
        if steady or perf_counter_ns() - start > seconds * 1e9:
            break
    return {
        "runs": total,
        "seconds": (perf_counter_ns() - start) / 1e9,
        "steady": steady,
        "medians_ns": medians[:1000],
    }


def time(models: dict[str, Model], request: dict[str, Any]) -> dict[str, Any]:
    """Time models, block by block in turn, for `min_seconds` and until each median's 95 % interval is narrower than
    `interval` of it, at most `seconds`."""
    import numpy as np

    names = field(request, "names", list)
    if not names or len(names) > MAX_MODELS or not all(isinstance(n, str) for n in names):
        raise Refused("BadRequest", "names must be a list of loaded models")
    timed = {n: named(models, {"name": n}) for n in names}
    seconds = field(request, "seconds", float, 10.0, 0.01, MAX_SECONDS)
    least_ns = field(request, "min_seconds", float, 1.0, 0.0, seconds) * 1e9
    interval = field(request, "interval", float, 0.01, 1e-4, 1.0)
    least = field(request, "min_runs", int, 100, 5, MAX_RUNS)
    most = field(request, "max_runs", int, 20_000, least, MAX_RUNS)
    first = {n: crc32s(m.once()) for n, m in timed.items()}
    ticks: dict[str, list[int]] = {n: [] for n in timed}
    runs, window, reached = 0, Window(), False
    gc.disable()
    try:
        start, check = perf_counter_ns(), least
        while not reached and perf_counter_ns() - start < seconds * 1e9 and runs < most:
            for n, model in timed.items():
                ticks[n] += timed_block(model, 10)
            runs += 10
            if runs >= check:  # sorting is not free: look again after a fifth more
                check = int(1.2 * check) + 1
                low, middle, high = zip(*(median_interval(t) for t in ticks.values()))
                narrow = all(b - a <= interval * m for a, m, b in zip(low, middle, high))
                reached = narrow and perf_counter_ns() - start >= least_ns
    finally:
        gc.enable()
    passed = window.close()
    for n, model in timed.items():
        if crc32s(model.once()) != first[n]:
            raise Refused("Unstable", f"model {n[:80]!r} answers the same input with other bytes after {runs} runs")
    return {"ticks_ns": {n: encode(np.array(t, np.int64)) for n, t in ticks.items()}, "reached": reached, "window": passed}


def throughput(models: dict[str, Model], request: dict[str, Any]) -> dict[str, Any]:
    """Inferences per second with `workers` sessions of one thread each, at the same time."""
    model = named(models, request)
    workers = field(request, "workers", int, 1, 1, MAX_THREADS)
    seconds = field(request, "seconds", float, 2.0, 0.01, MAX_SECONDS)
    feed = model.fed()
    single = Model(model.path, {**model.options, "threads": 1})
    engines = [single.engine, *(single.open() for _ in range(workers - 1))]
    counts, start, stop = [0] * workers, threading.Event(), threading.Event()

    def work(i: int) -> None:
        engines[i].run(feed)
        start.wait()
        while not stop.is_set():
            engines[i].run(feed)
            counts[i] += 1

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(workers)]
    for t in threads:
        t.start()
    sleep(0.05)
    began = perf_counter_ns()
    start.set()
    sleep(seconds)
    stop.set()
    for t in threads:
        t.join()
    return {"per_second": sum(counts) * 1e9 / (perf_counter_ns() - began), "workers": workers}


def profile(models: dict[str, Model], request: dict[str, Any]) -> dict[str, Any]:
    """Microseconds of each operator in one inference, None when the engine can not tell."""
    model, runs = named(models, request), field(request, "runs", int, 50, 1, 1000)
    feed = model.fed()
    if not isinstance(model.engine, OnnxRuntime):
        return {"nodes": None}
    with tempfile.TemporaryDirectory() as folder:
        engine = OnnxRuntime(model.path, model.options, os.path.join(folder, "profile"))
        for _ in range(runs):
            engine.run(feed)
        nodes = engine.profile()
    return {"nodes": [{**n, "us": n["us"] / runs} for n in nodes[:2000]]}
