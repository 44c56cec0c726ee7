"""Golden vectors: what goes into the firmware, what the integer reference answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.errors import GraphError
from pipeline.fixedpoint import quantize
from pipeline.ir import Array, Graph
from pipeline.preprocess import Normalization, Preprocess


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """n examples: `inputs` as the firmware takes them (input 0 raw where a preprocess is compiled in), `int8_inputs` as the
    graph takes them, `outputs` the integer reference's; all (n, *tensor.shape)."""

    inputs: tuple[Array, ...]
    int8_inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.inputs[0])


def golden(graph: Graph, inputs: tuple[Array, ...], preprocess: Preprocess | None = None) -> Vectors:
    """The vectors for `inputs`, each (n, *tensor.shape), of the firmware's own input dtypes."""
    int8_inputs = (preprocess.apply(inputs[0]), *inputs[1:]) if preprocess else inputs
    return Vectors(inputs, int8_inputs, graph.run(*int8_inputs))


def from_images(graph: Graph, images: Array, normalization: Normalization, preprocess: Preprocess | None = None) -> Vectors:
    """The vectors for raw `images` (n, H, W, C) of a data set. Without a preprocess (raw values are not bytes) this host
    normalises and quantises them."""
    if len(graph.inputs) != 1 or graph[graph.inputs[0]].size != images[0].size:
        want = ", ".join(f"{n!r} {graph[n].shape}" for n in graph.inputs)
        raise GraphError(f"images of shape {images.shape[1:]} do not fit the inputs of {graph.name!r}: {want}")
    x = graph[graph.inputs[0]]
    values = images if preprocess else quantize(normalization.apply(images), x.scale, x.zero_point)
    return golden(graph, (np.ascontiguousarray(values).reshape(len(images), *x.shape),), preprocess)


def random(graph: Graph, n: int, preprocess: Preprocess | None = None, seed: int = 0) -> Vectors:
    """The vectors for n uniformly random inputs: every byte value, so that saturation and zero points are met."""
    rng = np.random.default_rng(seed)

    def values(i: int, name: str) -> Array:
        t = graph[name]
        dtype = preprocess.dtype if preprocess and i == 0 else t.dtype
        if dtype == "float32":
            return rng.standard_normal((n, *t.shape)).astype(np.float32)
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        return rng.integers(low, high, (n, *t.shape), dtype=dtype, endpoint=True)

    return golden(graph, tuple(values(i, name) for i, name in enumerate(graph.inputs)), preprocess)
