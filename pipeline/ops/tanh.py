"""The hyperbolic tangent, int8: TFLite's TANH."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ir import Array, Graph, TfliteNode
from pipeline.ops._gemmlowp import tanh
from pipeline.ops._onnx import OnnxWriter, elementwise
from pipeline.ops._sigmoidal import q4_requant, sigmoidal
from pipeline.ops._unary import Unary


@dataclass(frozen=True, kw_only=True)
class Tanh(Unary):
    """In gemmlowp's fixed-point arithmetic, as TFLM. inputs: x. The output's scale is 1/128, its zero point 0."""

    rounding = "function"

    def check(self, graph: Graph) -> None:
        super().check(graph)
        y = graph[self.output]
        if y.scale != 1 / 128 or y.zero_point != 0:
            raise self.fail(f"output must have scale 1/128 and zero point 0, has {y.scale:g} and {y.zero_point}")
        q4_requant(graph[self.inputs[0]])

    def apply(self, graph: Graph, x: Array) -> Array:
        return sigmoidal(tanh, x, graph[self.inputs[0]], output_bits=7, zero=0)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return (TfliteNode("TANH", self.inputs, self.outputs, version=2),)

    def onnx(self, w: OnnxWriter) -> None:
        elementwise(self, w, "Tanh")
