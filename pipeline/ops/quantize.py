"""From one 8-bit quantisation to another: TFLite's QUANTIZE with int8 or uint8 input and int8 output."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.fixedpoint import clamp_int8, quantize_multiplier, requantize
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.ops._checks import expect_int8, expect_shape
from pipeline.ops._unary import Unary


@dataclass(frozen=True, kw_only=True)
class Quantize(Unary):
    """y = requantize(x - x_zero) + y_zero, x int8 or uint8. inputs: x."""

    def check(self, graph: Graph) -> None:
        x = graph[self.inputs[0]]
        expect_int8(self, graph, self.output)
        expect_shape(self, graph, self.output, x.shape)
        if x.dtype not in ("int8", "uint8") or x.quant is None or len(x.quant.scale) != 1:
            raise self.fail(f"{self.inputs[0]!r} must be int8 or uint8 with one scale, it is {x.dtype}")
        quantize_multiplier(x.scale / graph[self.output].scale)

    def apply(self, graph: Graph, x: Array) -> Array:
        source, y = graph[self.inputs[0]], graph[self.output]
        return clamp_int8(requantize(x - source.zero_point, *quantize_multiplier(source.scale / y.scale)) + y.zero_point)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return (TfliteNode("QUANTIZE", self.inputs, self.outputs, "QuantizeOptions", version=2),)
