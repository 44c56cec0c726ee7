"""The sigmoid 1 / (1 + exp(-x)), int8: TFLite's LOGISTIC."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ir import Array, Graph, TfliteNode
from pipeline.ops._gemmlowp import logistic
from pipeline.ops._onnx import OnnxWriter, elementwise
from pipeline.ops._sigmoidal import q4_requant, sigmoidal
from pipeline.ops._unary import Unary


@dataclass(frozen=True, kw_only=True)
class Logistic(Unary):
    """In gemmlowp's fixed-point arithmetic, as TFLM. inputs: x. The output's scale is 1/256, its zero point -128."""

    rounding = "function"

    def check(self, graph: Graph) -> None:
        super().check(graph)
        y = graph[self.output]
        if y.scale != 1 / 256 or y.zero_point != -128:
            raise self.fail(f"output must have scale 1/256 and zero point -128, has {y.scale:g} and {y.zero_point}")
        q4_requant(graph[self.inputs[0]])

    def apply(self, graph: Graph, x: Array) -> Array:
        return sigmoidal(logistic, x, graph[self.inputs[0]], output_bits=8, zero=-128)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return (TfliteNode("LOGISTIC", self.inputs, self.outputs, version=2),)

    def onnx(self, w: OnnxWriter) -> None:
        elementwise(self, w, "Sigmoid")
