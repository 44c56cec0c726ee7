"""x, or alpha times x below zero, int8: TFLite's LEAKY_RELU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8, quantize_multiplier, requantize
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.ops._onnx import OnnxWriter, elementwise
from pipeline.ops._unary import Unary


@dataclass(frozen=True, kw_only=True)
class LeakyRelu(Unary):
    """y = requantize(x - x_zero) + y_zero with one multiplier above zero and another below. inputs: x.

    With a negative alpha TFLM's result is the negated result of the positive one, halves included.
    """

    rounding = "requant"

    alpha: float

    def check(self, graph: Graph) -> None:
        super().check(graph)
        if not math.isfinite(self.alpha):
            raise self.fail(f"alpha {self.alpha} is not a finite number")
        self._requants(graph)

    def _requants(self, graph: Graph) -> tuple[tuple[int, int], tuple[int, int]]:
        """(multiplier, shift) below zero, for |alpha|, and above. Source: CalculateOpDataLeakyRelu in TFLM's
        leaky_relu_common.cc."""
        x, y = graph[self.inputs[0]].scale, graph[self.output].scale
        return quantize_multiplier(x * abs(float(np.float32(self.alpha))) / y), quantize_multiplier(x / y)

    def apply(self, graph: Graph, x: Array) -> Array:
        below, above = self._requants(graph)
        centred = x - graph[self.inputs[0]].zero_point
        sign = -1 if self.alpha < 0 else 1
        y = np.where(centred >= 0, requantize(centred, *above), sign * requantize(centred, *below))
        return clamp_int8(y + graph[self.output].zero_point)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        attributes = {"alpha": float(self.alpha)}
        return (TfliteNode("LEAKY_RELU", self.inputs, self.outputs, "LeakyReluOptions", attributes, version=2),)

    def onnx(self, w: OnnxWriter) -> None:
        elementwise(self, w, "LeakyRelu", alpha=self.alpha)
