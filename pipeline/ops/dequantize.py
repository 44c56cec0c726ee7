"""From int8 to real numbers: TFLite's DEQUANTIZE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import dequantize
from pipeline.ir import Array, Graph, Op, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_int8, expect_shape
from pipeline.ops._onnx import OnnxWriter, requantized


@dataclass(frozen=True, kw_only=True)
class Dequantize(Op):
    """y = scale * (x - x_zero) in float32, for a graph's outputs. inputs: x."""

    rounding = "product"

    def check(self, graph: Graph) -> None:
        expect_int8(self, graph, self.inputs[0])
        expect_shape(self, graph, self.output, graph[self.inputs[0]].shape)
        if graph[self.output].dtype != "float32":
            raise self.fail(f"output must be float32, it is {graph[self.output].dtype}")

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        x = graph[self.inputs[0]]
        return (dequantize(args[0], x.scale, x.zero_point),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x = graph[self.inputs[0]]
        params = {"count": x.size, "x_zero": x.zero_point, "scale": np.float32(x.scale)}
        return (Kernel("dequantize_s8", params, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return (TfliteNode("DEQUANTIZE", self.inputs, self.outputs, "DequantizeOptions", version=2),)

    def onnx(self, w: OnnxWriter) -> None:
        requantized(self, w)
