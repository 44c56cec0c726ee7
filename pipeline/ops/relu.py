"""max(x, 0) as an operator of its own: TFLite's RELU."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.fixedpoint import clamp_int8, keeps_order, quantize_multiplier, requantize
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.ops._onnx import OnnxWriter, requantized
from pipeline.ops._unary import Unary


@dataclass(frozen=True, kw_only=True)
class Relu(Unary):
    """y = max(requantize(x - x_zero) + y_zero, y_zero): it rescales between different quantisations. inputs: x."""

    rounding = "requant"

    def check(self, graph: Graph) -> None:
        super().check(graph)
        self._requant(graph)

    def apply(self, graph: Graph, x: Array) -> Array:
        source, y = graph[self.inputs[0]], graph[self.output]
        scaled = requantize(x - source.zero_point, *self._requant(graph)) + y.zero_point
        return clamp_int8(scaled, low=max(-128, y.zero_point))

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return (TfliteNode("RELU", self.inputs, self.outputs, version=2),)

    def monotonic(self, graph: Graph) -> bool:
        zero = graph[self.inputs[0]].zero_point
        return keeps_order(-128 - zero, 127 - zero, self._requant(graph)[1])

    def _requant(self, graph: Graph) -> tuple[int, int]:
        return quantize_multiplier(graph[self.inputs[0]].scale / graph[self.output].scale)

    def onnx(self, w: OnnxWriter) -> None:
        requantized(self, w, "relu")
