"""Multiplication with broadcasting, int8: TFLite's MUL."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.fixedpoint import clamp_int8, quantize_multiplier, requantize
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation, clamp_range
from pipeline.ops._broadcast import Binary
from pipeline.ops._onnx import OnnxWriter, elementwise


@dataclass(frozen=True, kw_only=True)
class Mul(Binary):
    """y = clamp(requantize((a - a_zero) * (b - b_zero)) + y_zero). inputs: a, b; one may be a constant."""

    rounding = "requant"

    activation: Activation = "none"

    def check(self, graph: Graph) -> None:
        super().check(graph)
        self._requant(graph)

    def _requant(self, graph: Graph) -> tuple[int, int]:
        a, b, y = (graph[n] for n in (*self.inputs, self.output))
        return quantize_multiplier(a.scale * b.scale / y.scale)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        a, b, y = (graph[n] for n in (*self.inputs, self.output))
        left, right = self.operands(graph, args)
        product = requantize((left - a.zero_point) * (right - b.zero_point), *self._requant(graph)) + y.zero_point
        return (clamp_int8(product, *clamp_range(self.activation, y)),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        a, b, y = (graph[n] for n in (*self.inputs, self.output))
        multiplier, shift = self._requant(graph)
        low, high = clamp_range(self.activation, y)
        params = {
            "loops": self.loop_params(graph),
            "a_zero": a.zero_point, "b_zero": b.zero_point, "y_zero": y.zero_point,
            "multiplier": multiplier, "shift": shift, "clamp_min": low, "clamp_max": high,
        }  # fmt: skip
        return (Kernel("mul_s8", params, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        attributes = {"fusedActivationFunction": TFLITE_ACTIVATION[self.activation]}
        return (TfliteNode("MUL", self.inputs, self.outputs, "MulOptions", attributes, version=2),)

    def onnx(self, w: OnnxWriter) -> None:
        elementwise(self, w, "Mul", self.activation)
