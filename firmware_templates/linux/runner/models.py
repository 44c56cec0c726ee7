"""Loaded models: `load`, `unload`, one input to work on (`feed`), answers to many (`replay`)."""

# ruff: noqa: B905  (zip has no `strict` before Python 3.10)
from __future__ import annotations

import hashlib
import importlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from arrays import decode, encode
from engines import OPTIMIZATION, PACKAGES, LiteRt, OnnxRuntime, installed
from fields import Refused, choice, field

if TYPE_CHECKING:
    import numpy as np

MAX_MODELS = 4
MAX_THREADS = 1024
MAX_MODEL_BYTES = 2**30


class Model:
    """One loaded model; `feed` is the input it is timed with."""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self.path, self.options = path, options
        self.engine = self.open()
        self.feed: list[np.ndarray] | None = None

    def open(self) -> OnnxRuntime | LiteRt:
        """Another session with the same options."""
        kind = OnnxRuntime if self.options["engine"] == "onnxruntime" else LiteRt
        return kind(self.path, self.options)

    def fitting(self, arrays: list[np.ndarray], several: bool = False) -> list[np.ndarray]:
        """The arrays, refused unless they are this model's inputs (with `several`, each with one more leading axis)."""
        got = [(str(a.dtype), list(a.shape[1:] if several else a.shape)) for a in arrays]
        want = [(dtype, shape) for _, dtype, shape in self.engine.inputs]
        if got != want or (several and len({len(a) for a in arrays}) != 1):
            raise Refused("BadRequest", f"the model takes {want}, got {got}")
        return arrays

    def fed(self) -> list[np.ndarray]:
        """Its input, refused before there is one."""
        if self.feed is None:
            raise Refused("BadRequest", "no input yet: send `feed` first")
        return self.feed

    def once(self) -> list[np.ndarray]:
        return self.engine.run(self.fed())


def named(models: dict[str, Model], request: dict[str, Any]) -> Model:
    """The loaded model that request["name"] names."""
    name = field(request, "name", str, "")
    if name not in models:
        raise Refused("NotLoaded", f"no model {name[:80]!r} is loaded")
    return models[name]


def load(models: dict[str, Model], request: dict[str, Any]) -> dict[str, Any]:
    """Model file into a session with explicit options; its bytes must have this sha256."""
    name, path = field(request, "name", str), field(request, "file", str)
    if len(models) >= MAX_MODELS or name in models:
        raise Refused("BadRequest", f"model {name[:80]!r} is loaded already, or {MAX_MODELS} others")
    have = installed()
    known = [e for e in PACKAGES if (e == "onnxruntime") == path.endswith(".onnx")]
    usable = [e for e in known if e in have]
    if not usable:
        raise Refused("NoEngine", f"{sys.executable} has none of {', '.join(known)} with numpy")
    options = {
        "engine": choice(request, "engine", usable, usable[0]),
        "threads": field(request, "threads", int, 1, 1, MAX_THREADS),
        "inter_threads": field(request, "inter_threads", int, 1, 1, MAX_THREADS),
        "optimization": choice(request, "optimization", OPTIMIZATION, "all"),
        "spinning": field(request, "spinning", bool, True),
    }
    _set_affinity(field(request, "affinity", list, []))
    _expect_sha256(path, field(request, "sha256", str))
    start = time.perf_counter_ns()
    importlib.import_module(options["engine"])
    imported = time.perf_counter_ns()
    models[name] = Model(path, options)
    return {
        "options": {**options, "affinity": sorted(os.sched_getaffinity(0))},
        "engine_version": have[options["engine"]],
        "import_ns": imported - start,
        "load_ns": time.perf_counter_ns() - imported,
        "inputs": models[name].engine.inputs,
        "outputs": models[name].engine.outputs,
    }


def _set_affinity(cpus: list[Any]) -> None:
    """Of this process; threads that an engine starts later inherit it. An empty list changes nothing."""
    if cpus:
        allowed = os.sched_getaffinity(0)
        if not all(type(c) is int for c in cpus) or not set(cpus) <= allowed:
            raise Refused("BadRequest", f"affinity must name cores of {sorted(allowed)}")
        os.sched_setaffinity(0, cpus)


def _expect_sha256(path: str, wanted: str) -> None:
    try:
        size = os.path.getsize(path)
        if size > MAX_MODEL_BYTES:
            raise Refused("TooLarge", f"{size} bytes of model; the limit is {MAX_MODEL_BYTES}")
        with open(path, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
    except OSError as e:
        raise Refused("NoFile", f"{path[:200]}: {e.strerror}") from None
    if digest != wanted:
        raise Refused("Damaged", f"{path[:200]} does not have the sha256 that was asked for")


def unload(models: dict[str, Model], request: dict[str, Any]) -> dict[str, Any]:
    named(models, request)
    del models[request["name"]]
    return {}


def feed(models: dict[str, Model], request: dict[str, Any]) -> dict[str, Any]:
    """The input of `warmup`, `time`, `throughput`, `profile` and `power`; the answer to it, and how long that took."""
    model = named(models, request)
    model.feed = model.fitting([decode(v) for v in field(request, "inputs", list)])
    start = time.perf_counter_ns()
    outputs = model.once()
    return {"first_ns": time.perf_counter_ns() - start, "outputs": [encode(y) for y in outputs]}


def replay(models: dict[str, Model], request: dict[str, Any]) -> dict[str, Any]:
    """The answers to n inputs, arrays with one more leading axis."""
    import numpy as np

    model = named(models, request)
    inputs = model.fitting([decode(v) for v in field(request, "inputs", list)], several=True)
    answers = [model.engine.run([x[i] for x in inputs]) for i in range(len(inputs[0]))]
    return {"outputs": [encode(np.stack(y)) for y in zip(*answers)]}
