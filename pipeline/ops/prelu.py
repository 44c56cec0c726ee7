"""Leaky relu with learnt slopes, broadcast, int8: TFLite's PRELU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8, quantize_multiplier, requantize
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._broadcast import Binary
from pipeline.ops._onnx import OnnxWriter, elementwise


@dataclass(frozen=True, kw_only=True)
class Prelu(Binary):
    """y = x where x >= 0, else x * alpha, rescaled. inputs: x, alpha (broadcast to x)."""

    rounding = "requant"

    def check(self, graph: Graph) -> None:
        super().check(graph)
        self._requants(graph)

    def _requants(self, graph: Graph) -> tuple[tuple[int, int], tuple[int, int]]:
        """(multiplier, shift) of x, and of x times alpha. Source: CalculatePreluParams in TFLM's prelu_common.cc."""
        x, alpha, y = (graph[n].scale for n in (*self.inputs, self.output))
        return quantize_multiplier(x / y), quantize_multiplier(x * alpha / y)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        tx, ta, ty = (graph[n] for n in (*self.inputs, self.output))
        as_is, scaled = self._requants(graph)
        x, alpha = self.operands(graph, args)
        x, alpha = x - tx.zero_point, alpha - ta.zero_point
        y = np.where(x >= 0, requantize(x, *as_is), requantize(x * alpha, *scaled)) + ty.zero_point
        return (clamp_int8(y),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, alpha, y = (graph[n] for n in (*self.inputs, self.output))
        as_is, scaled = self._requants(graph)
        params = {
            "loops": self.loop_params(graph),
            "x_zero": x.zero_point, "alpha_zero": alpha.zero_point, "y_zero": y.zero_point,
            "multiplier": as_is[0], "shift": as_is[1],
            "alpha_multiplier": scaled[0], "alpha_shift": scaled[1],
        }  # fmt: skip
        return (Kernel("prelu_s8", params, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return (TfliteNode("PRELU", self.inputs, self.outputs, version=1),)

    def onnx(self, w: OnnxWriter) -> None:
        elementwise(self, w, "PRelu")
