"""min(max(x, 0), 6) as an operator of its own: TFLite's RELU6."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.fixedpoint import clamp_int8
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.ops._activation import clamp_range
from pipeline.ops._checks import expect_same_quant
from pipeline.ops._onnx import OnnxWriter, common_layout
from pipeline.ops._unary import Unary


@dataclass(frozen=True, kw_only=True)
class Relu6(Unary):
    """y = clamp(x) between the quantised 0 and 6. inputs: x.

    Unlike RELU, TFLM's RELU6 never rescales (it ignores the output's quantisation), so both must be the same.
    """

    rounding = "exact"

    def check(self, graph: Graph) -> None:
        super().check(graph)
        expect_same_quant(self, graph, self.inputs[0], self.output)

    def apply(self, graph: Graph, x: Array) -> Array:
        return clamp_int8(x, *clamp_range("relu6", graph[self.inputs[0]]))

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return (TfliteNode("RELU6", self.inputs, self.outputs, version=2),)

    def monotonic(self, graph: Graph) -> bool:
        return True

    def onnx(self, w: OnnxWriter) -> None:
        layout = common_layout(self, w)
        w.keep(w.stored(self.inputs[0], layout), self.output, layout, "relu6")
