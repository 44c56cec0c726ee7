"""Another shape for the same values in the same order: TFLite's RESHAPE, and its SQUEEZE and EXPAND_DIMS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array, Graph, Op, Storage, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_axes, expect_int8, expect_same_quant
from pipeline.ops._onnx import OnnxWriter, reshaped


@dataclass(frozen=True, kw_only=True)
class Reshape(Op):
    """The output's shape says it all. inputs: x. No kernel runs: the output is the input's bytes."""

    rounding = "exact"

    def check(self, graph: Graph) -> None:
        x, y = graph[self.inputs[0]], graph[self.output]
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_same_quant(self, graph, self.inputs[0], self.output)
        if x.size != y.size:
            raise self.fail(f"{x.size} values of shape {x.shape} do not fill the shape {y.shape}")
        expect_axes(self, graph, self.output)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        return (args[0].reshape(len(args[0]), *graph[self.output].shape),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        return ()

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        shape = np.array(graph[self.output].shape, np.int32)
        attributes = {"newShape": tuple(map(int, shape))}
        return (TfliteNode("RESHAPE", (self.inputs[0], shape), self.outputs, "ReshapeOptions", attributes),)

    def storage(self, graph: Graph) -> Storage:
        return "alias"

    def onnx(self, w: OnnxWriter) -> None:
        value = reshaped(w, w.stored(self.inputs[0]), f"{self.output}/reshaped", w.graph[self.output].shape)
        w.keep(value, self.output)
