"""A box cut out of a tensor: TFLite's SLICE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array, Graph, Op, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_axes, expect_int8, expect_rank, expect_same_quant
from pipeline.ops._copy import check_copies, copy_kernel, steps
from pipeline.ops._onnx import OnnxWriter, sliced


@dataclass(frozen=True, kw_only=True)
class Slice(Op):
    """The output's shape of values from `begin` on, one index for each axis. inputs: x."""

    rounding = "exact"

    begin: tuple[int, ...]

    def check(self, graph: Graph) -> None:
        x, y = graph[self.inputs[0]], graph[self.output]
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_same_quant(self, graph, self.inputs[0], self.output)
        expect_axes(self, graph, self.inputs[0])
        expect_rank(self, graph, len(x.shape), self.output)
        if len(self.begin) != len(x.shape):
            raise self.fail(f"begin {self.begin} needs one index for each axis of {x.shape}")
        if any(b < 0 or b + s > n for b, s, n in zip(self.begin, y.shape, x.shape, strict=True)):
            raise self.fail(f"{y.shape} values from {self.begin} on reach outside the input {x.shape}")
        check_copies(self, graph)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        box = tuple(slice(b, b + s) for b, s in zip(self.begin, graph[self.output].shape, strict=True))
        return (np.ascontiguousarray(args[0][(slice(None), *box)]),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x_steps, y = steps(graph[self.inputs[0]].shape), graph[self.output]
        start = sum(b * step for b, step in zip(self.begin, x_steps, strict=True))
        return (copy_kernel(self.inputs[0], self.output, y.shape, (x_steps, start), (steps(y.shape), 0)),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        size = np.array(graph[self.output].shape, np.int32)
        inputs = (self.inputs[0], np.array(self.begin, np.int32), size)
        return (TfliteNode("SLICE", inputs, self.outputs, "SliceOptions", version=2),)

    def onnx(self, w: OnnxWriter) -> None:
        end = [b + s for b, s in zip(self.begin, w.graph[self.output].shape, strict=True)]
        w.keep(sliced(w, self.inputs[0], self.output, list(self.begin), end, [1] * len(end)), self.output)
