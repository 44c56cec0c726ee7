"""Axes in another order: TFLite's TRANSPOSE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array, Graph, Op, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_axes, expect_int8, expect_same_quant, expect_shape
from pipeline.ops._copy import check_copies, copy_kernel, steps
from pipeline.ops._onnx import OnnxWriter


@dataclass(frozen=True, kw_only=True)
class Transpose(Op):
    """Output axis i is input axis permutation[i]. inputs: x."""

    rounding = "exact"

    permutation: tuple[int, ...]

    def check(self, graph: Graph) -> None:
        x = graph[self.inputs[0]]
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_same_quant(self, graph, self.inputs[0], self.output)
        expect_axes(self, graph, self.inputs[0])
        if sorted(self.permutation) != list(range(len(x.shape))):
            raise self.fail(f"permutation {self.permutation} must name each of the {len(x.shape)} axes of {x.shape} once")
        expect_shape(self, graph, self.output, tuple(x.shape[i] for i in self.permutation))
        check_copies(self, graph)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        return (np.ascontiguousarray(args[0].transpose(0, *(i + 1 for i in self.permutation))),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, y = graph[self.inputs[0]], graph[self.output]
        x_steps = tuple(steps(x.shape)[i] for i in self.permutation)
        return (copy_kernel(self.inputs[0], self.output, y.shape, (x_steps, 0), (steps(y.shape), 0)),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        inputs = (self.inputs[0], np.array(self.permutation, np.int32))
        return (TfliteNode("TRANSPOSE", inputs, self.outputs, "TransposeOptions", version=2),)

    def onnx(self, w: OnnxWriter) -> None:
        value = w.node("Transpose", [w.stored(self.inputs[0])], f"{self.output}/turned", perm=list(self.permutation))
        w.keep(value, self.output)
