"""A tensor cut along an axis: TFLite's SPLIT, and SPLIT_V for parts of different sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array, Graph, Op, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_int8, expect_same_quant, expect_shape
from pipeline.ops._copy import check_copies, copy_kernel, steps
from pipeline.ops._onnx import OnnxWriter, sliced


@dataclass(frozen=True, kw_only=True)
class Split(Op):
    """One output after the other along `axis`; their shapes say how long each is. inputs: x."""

    rounding = "exact"

    axis: int

    def check(self, graph: Graph) -> None:
        x = graph[self.inputs[0]]
        expect_int8(self, graph, self.inputs[0], *self.outputs)
        expect_same_quant(self, graph, self.inputs[0], *self.outputs)
        if not 0 <= self.axis < len(x.shape):
            raise self.fail(f"axis {self.axis} does not exist in {x.shape}")
        for name in self.outputs:
            shape = graph[name].shape
            along = shape[self.axis] if len(shape) == len(x.shape) else 0
            expect_shape(self, graph, name, tuple(along if i == self.axis else s for i, s in enumerate(x.shape)))
        if sum(self._sizes(graph)) != x.shape[self.axis]:
            raise self.fail(f"parts of {self._sizes(graph)} do not make up axis {self.axis} of {x.shape}")
        check_copies(self, graph)

    def _sizes(self, graph: Graph) -> list[int]:
        return [graph[n].shape[self.axis] for n in self.outputs]

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        ends = np.cumsum(self._sizes(graph))[:-1]
        return tuple(np.ascontiguousarray(part) for part in np.split(args[0], ends, axis=self.axis + 1))

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x_steps = steps(graph[self.inputs[0]].shape)
        calls, at = [], 0
        for name in self.outputs:
            shape = graph[name].shape
            calls.append(copy_kernel(self.inputs[0], name, shape, (x_steps, at * x_steps[self.axis]), (steps(shape), 0)))
            at += shape[self.axis]
        return tuple(calls)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        sizes, axis = self._sizes(graph), np.array(self.axis, np.int32)
        attributes = {"numSplits": len(sizes)}
        if len(set(sizes)) == 1:
            return (TfliteNode("SPLIT", (axis, self.inputs[0]), self.outputs, "SplitOptions", attributes, version=2),)
        inputs = (self.inputs[0], np.array(sizes, np.int32), axis)
        return (TfliteNode("SPLIT_V", inputs, self.outputs, "SplitVOptions", attributes, version=2),)

    def onnx(self, w: OnnxWriter) -> None:
        at = 0
        for name in self.outputs:
            shape = w.graph[name].shape
            begin = [at if i == self.axis else 0 for i in range(len(shape))]
            end = [b + s for b, s in zip(begin, shape, strict=True)]
            at += shape[self.axis]
            w.keep(sliced(w, self.inputs[0], name, begin, end, [1] * len(shape)), name)
