"""Matrix multiplication with constant weights, int8: TFLite's FULLY_CONNECTED."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import integer_matmul
from pipeline.ir import Array, Graph, Kernel, TfliteNode
from pipeline.ops._activation import TFLITE_ACTIVATION
from pipeline.ops._checks import expect_int8, expect_rank
from pipeline.ops._convolution import Weighted
from pipeline.ops._onnx import OnnxWriter, reshaped


@dataclass(frozen=True, kw_only=True)
class FullyConnected(Weighted):
    """y[r] = clamp(requantize((x[r] - x_zero) @ w.T + bias) + y_zero). inputs: x, w (O,I), [bias (O,)].

    x of any shape is read as rows of I values; y has the same number of rows of O values. With one weight scale for all,
    TFLite (and TFLM of 2024) multiply the scales in float32, which moves the multiplier by up to 6e-8 and shows in exact
    ties alone; TFLM now multiplies in double, and so does this.
    """

    rounding = "requant"

    def check(self, graph: Graph) -> None:
        x, w, y = (graph[n] for n in (*self.inputs[:2], self.output))
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_rank(self, graph, 2, self.inputs[1])
        self.check_weights(graph)
        features, inputs = w.shape
        if not y.shape or y.shape[-1] != features or x.size % inputs or y.size // features != x.size // inputs:
            raise self.fail(f"weights {w.shape} do not turn input {x.shape} into output {y.shape}")

    def sums(self, graph: Graph, x: Array, w: Array) -> Array:
        rows = x.reshape(-1, w.shape[1]).astype(np.int64) - graph[self.inputs[0]].zero_point
        return integer_matmul(rows, w.T).reshape(len(x), *graph[self.output].shape)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, (y_c, x_c) = graph[self.inputs[0]], graph[self.inputs[1]].shape
        params = {"rows": x.size // x_c, "x_c": x_c, "y_c": y_c, "weights": self.weight_params(graph)}
        return (Kernel("fully_connected_s8", params, self.inputs[:1], self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        x, y = graph[self.inputs[0]], graph[self.output]
        attributes = {
            "fusedActivationFunction": TFLITE_ACTIVATION[self.activation],
            "keepNumDims": len(y.shape) > 2 and len(y.shape) == len(x.shape),
        }
        inputs = (*self.inputs[:2], self.bias)
        return (TfliteNode("FULLY_CONNECTED", inputs, self.outputs, "FullyConnectedOptions", attributes, version=5),)

    def macs(self, graph: Graph) -> int:
        return graph[self.output].size * graph[self.inputs[1]].shape[1]

    def onnx(self, w: OnnxWriter) -> None:
        """Gemm, not MatMul: it takes the bias, and ONNX Runtime fuses it into one QGemm."""
        x, y, (features, width) = w.graph[self.inputs[0]], w.graph[self.output], w.graph[self.inputs[1]].shape
        rows = (x.size // width, width)
        source = w.real(self.inputs[0])
        if x.shape != rows:
            source = reshaped(w, source, f"{self.output}/rows", rows)
        weights = w.weights(self, self.inputs[1], w.graph.constant(self.inputs[1]), axis=0)
        value = w.node("Gemm", [source, weights, *self.onnx_bias(w)], f"{self.output}/gemm", transB=1)
        if y.shape == (rows[0], features):
            w.store(value, self.output, "nhwc", self.activation)
        else:  # quantised first: ONNX Runtime fuses an operator with the quantise node right behind it
            flat = w.quantized(value, self.output, f"{self.output}/flat")
            w.keep(reshaped(w, flat, f"{self.output}/shaped", y.shape), self.output, "nhwc", self.activation)
