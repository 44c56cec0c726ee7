"""To int8 from another quantisation or from real numbers: TFLite's QUANTIZE with int8, uint8 or float32 input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8, keeps_order, quantize, quantize_multiplier, requantize
from pipeline.ir import Array, Graph, Storage, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_int8, expect_shape
from pipeline.ops._onnx import OnnxWriter, requantized
from pipeline.ops._unary import Unary


@dataclass(frozen=True, kw_only=True)
class Quantize(Unary):
    """y = requantize(x - x_zero) + y_zero of int8 or uint8 x; round(x / scale) + y_zero of float32 x. inputs: x.

    Real numbers beyond the range saturate and not-a-number gives y_zero, where TFLM's conversion to int32 is undefined.
    """

    rounding = "requant"

    def check(self, graph: Graph) -> None:
        x = graph[self.inputs[0]]
        expect_int8(self, graph, self.output)
        expect_shape(self, graph, self.output, x.shape)
        if x.dtype == "float32":
            return
        if x.dtype not in ("int8", "uint8") or x.quant is None or len(x.quant.scale) != 1:
            raise self.fail(f"{self.inputs[0]!r} must be float32, or int8 or uint8 with one scale; it is {x.dtype}")
        self._requant(graph)

    def apply(self, graph: Graph, x: Array) -> Array:
        source, y = graph[self.inputs[0]], graph[self.output]
        return clamp_int8(requantize(x - source.zero_point, *self._requant(graph)) + y.zero_point)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        if graph[self.inputs[0]].dtype != "float32":
            return super().reference(graph, *args)
        y = graph[self.output]
        return (quantize(args[0], y.scale, y.zero_point),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        if graph[self.inputs[0]].dtype != "float32":
            return super().kernels(graph)
        y = graph[self.output]
        params = {"count": y.size, "y_zero": y.zero_point, "scale": np.float32(y.scale)}
        return (Kernel("quantize_f32_s8", params, self.inputs, self.outputs),)

    def storage(self, graph: Graph) -> Storage:
        return "in_place" if graph[self.inputs[0]].dtype != "float32" else "new"

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return (TfliteNode("QUANTIZE", self.inputs, self.outputs, "QuantizeOptions", version=2),)

    def monotonic(self, graph: Graph) -> bool:
        x = graph[self.inputs[0]]
        return x.dtype == "int8" and keeps_order(-128 - x.zero_point, 127 - x.zero_point, self._requant(graph)[1])

    def _requant(self, graph: Graph) -> tuple[int, int]:
        return quantize_multiplier(graph[self.inputs[0]].scale / graph[self.output].scale)

    def onnx(self, w: OnnxWriter) -> None:
        requantized(self, w)
