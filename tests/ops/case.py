"""What a row of a case table is made of: one operator over a few tensors, and the vectors it is run on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.ir import Array, DType, Graph, Op, Quant, Tensor

EXAMPLES = 16  # per case: ten made of extremes, the rest random
CONSTANT = (0, 1, 2, 5, 6, 7)  # the vectors of the first input that are one value throughout


@dataclass(frozen=True, eq=False)
class Case:
    """A graph of one operator. `not_in_tflite`: the reason (a pattern) why it has no .tflite form, and so no TFLM run.
    `tflm_skips`: indexes of the vectors that TFLM does not survive."""

    graph: Graph
    not_in_tflite: str = ""
    tflm_skips: tuple[int, ...] = ()


def case(op: Op, not_in_tflite: str = "", tflm_skips: tuple[int, ...] = (), **tensors: Tensor) -> Case:
    """`op` over `tensors` by name; the graph's inputs are the activations that it reads."""
    inputs = tuple(dict.fromkeys(n for n in op.inputs if tensors[n].data is None))
    return Case(Graph("model", tensors, (op,), inputs, op.outputs), not_in_tflite, tflm_skips)


def activation(*shape: int, scale: float = 0.05, zero: int = 3, dtype: DType = "int8") -> Tensor:
    return Tensor(shape, dtype, Quant((scale,), zero))


def constant(*shape: int, scale: float = 0.05, zero: int = 3, seed: int = 1) -> Tensor:
    """A random int8 constant that reaches both ends of the range."""
    data = _random("int8", shape, seed)
    data.reshape(-1)[:2] = [-128, 127][: data.size]
    return Tensor(shape, "int8", Quant((scale,), zero), data)


def weights(*shape: int, axis: int | None = 0, scale: float = 0.01, seed: int = 1) -> Tensor:
    """Random symmetric weights that reach -127 and 127; with an `axis`, a different scale for each of its indexes."""
    rng = np.random.default_rng([seed, *shape])
    data = rng.integers(-127, 128, shape).astype(np.int8)
    data.reshape(-1)[:2] = [-127, 127][: data.size]
    if axis is None:
        return Tensor(shape, "int8", Quant((scale,)), data)
    scales = tuple(float(s) for s in scale * rng.uniform(0.05, 1.5, shape[axis]))
    return Tensor(shape, "int8", Quant(scales, 0, axis), data)


def bias(x: Tensor, w: Tensor, count: int, reach: int = 3000, seed: int = 1) -> Tensor:
    assert w.quant is not None
    scales = tuple(x.scale * s for s in w.quant.scale)
    data = np.random.default_rng([seed, count]).integers(-reach, reach + 1, count).astype(np.int32)
    return Tensor((count,), "int32", Quant(scales, 0, None if len(scales) == 1 else 0), data)


def telling_bias(x: Tensor, w: Tensor, y_scale: float) -> Tensor:
    """Biases that put the sums between where the scales' product rounded to float32 and their product in double round
    differently: only the right one of the two gives the right outputs."""
    assert w.quant is not None
    in_float = float(np.float32(x.scale) * np.float32(w.quant.scale[0])) / y_scale
    in_double = x.scale * w.quant.scale[0] / y_scale
    assert in_float != in_double
    assert 1e8 < 100 / in_double < 2e9, "the sums must be so large that the products' small difference shows"
    count = w.shape[0]
    values = [round((k + 0.5) * 2 / (in_float + in_double)) for k in range(100 - count, 100)]
    return Tensor((count,), "int32", Quant((x.scale * w.quant.scale[0],)), np.array(values, np.int32))


def fitting_scale(x: Tensor, w: Tensor, terms: int, spread: float = 40.0) -> float:
    """An output scale under which sums of `terms` random products have a standard deviation of `spread` steps."""
    assert w.quant is not None
    return x.scale * float(np.mean(w.quant.scale)) * 74 * 74 * math.sqrt(terms) / spread


def vectors(graph: Graph, seed: int = 7) -> tuple[Array, ...]:
    """EXAMPLES of each input: both extremes, the zero point, alternating extremes and a ramp, combined, then random ones."""
    found = []
    for k, name in enumerate(graph.inputs):
        t = graph[name]
        patterns = _patterns(t)
        rows = [patterns[(i + (i // 5) * k) % 5] for i in range(10)]
        random = _random(t.dtype, (EXAMPLES - len(rows), *t.shape), seed + k)
        found.append(np.concatenate([np.stack(rows), random]))
    return tuple(found)


def _patterns(t: Tensor) -> list[Array]:
    low, high = (np.iinfo(t.dtype).min, np.iinfo(t.dtype).max) if t.dtype != "float32" else (-1e5, 1e5)
    flat = np.arange(t.size)
    values: list[Any] = [np.full(t.size, low), np.full(t.size, high), np.full(t.size, t.zero_point)]
    values += [np.where(flat % 2, low, high), low + flat * 7 % 256 if t.dtype != "float32" else (flat - t.size / 2) * 0.3]
    return [v.astype(t.dtype).reshape(t.shape) for v in values]


def _random(dtype: str, shape: tuple[int, ...], seed: int) -> Array:
    rng = np.random.default_rng([seed, *shape])
    if dtype == "float32":
        return rng.normal(0, 5, shape).astype(np.float32)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def merged(cases: Mapping[str, Case]) -> Graph:
    """All cases side by side in one graph: one library to generate, build and run instead of one for each."""
    tensors: dict[str, Tensor] = {}
    ops: list[Op] = []
    for name, row in cases.items():
        tensors.update({f"{name}/{n}": t for n, t in row.graph.tensors.items()})
        for op in row.graph.ops:
            ops.append(replace(op, inputs=_renamed(name, op.inputs), outputs=_renamed(name, op.outputs)))
    inputs = tuple(n for name, row in cases.items() for n in _renamed(name, row.graph.inputs))
    outputs = tuple(n for name, row in cases.items() for n in _renamed(name, row.graph.outputs))
    return Graph("model", tensors, tuple(ops), inputs, outputs).checked()


def _renamed(name: str, tensors: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}/{n}" for n in tensors)
