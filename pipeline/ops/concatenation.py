"""Tensors one after the other along an axis: TFLite's CONCATENATION."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array, Graph, Op, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_int8, expect_same_quant, expect_shape
from pipeline.ops._copy import check_copies, copy_kernel, steps
from pipeline.ops._onnx import TO_NCHW, OnnxWriter, common_layout


@dataclass(frozen=True, kw_only=True)
class Concatenation(Op):
    """inputs: two or more tensors, all quantised as the output is: TFLM copies, it never rescales."""

    rounding = "exact"
    rounding_in_source = "rescaled"

    axis: int

    def check(self, graph: Graph) -> None:
        shapes = [graph[n].shape for n in self.inputs]
        expect_int8(self, graph, *self.inputs, self.output)
        expect_same_quant(self, graph, *self.inputs, self.output)
        if not 0 <= self.axis < len(shapes[0]):
            raise self.fail(f"axis {self.axis} does not exist in {shapes[0]}")
        total = sum(s[self.axis] for s in shapes if len(s) == len(shapes[0]))
        want = tuple(total if i == self.axis else s for i, s in enumerate(shapes[0]))
        if any(s[: self.axis] + s[self.axis + 1 :] != want[: self.axis] + want[self.axis + 1 :] for s in shapes):
            raise self.fail(f"shapes {', '.join(map(str, shapes))} must be equal but for axis {self.axis}")
        expect_shape(self, graph, self.output, want)
        check_copies(self, graph)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        rank = len(graph[self.output].shape)
        n = max(len(x) for x in args if x.ndim > rank)  # constants have no axis of examples
        parts = [x if x.ndim > rank else np.broadcast_to(x, (n, *x.shape)) for x in args]
        return (np.concatenate(parts, axis=self.axis + 1),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        y_steps = steps(graph[self.output].shape)
        calls, at = [], 0
        for name in self.inputs:
            shape = graph[name].shape
            calls.append(copy_kernel(name, self.output, shape, (steps(shape), 0), (y_steps, at * y_steps[self.axis])))
            at += shape[self.axis]
        return tuple(calls)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        attributes = {"axis": self.axis, "fusedActivationFunction": "NONE"}
        return (TfliteNode("CONCATENATION", self.inputs, self.outputs, "ConcatenationOptions", attributes, version=2),)

    def onnx(self, w: OnnxWriter) -> None:
        layout = common_layout(self, w)
        axis = TO_NCHW.index(self.axis) if layout == "nchw" else self.axis
        value = w.node("Concat", [w.stored(n, layout) for n in self.inputs], f"{self.output}/joined", axis=axis)
        w.keep(value, self.output, layout)
