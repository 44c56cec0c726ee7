"""Matrix multiplication with constant weights, int8: TFLite's FULLY_CONNECTED."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import integer_matmul
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.kernel import Kernel, Shift, Variant
from pipeline.ops import _pixel_pair
from pipeline.ops._activation import TFLITE_ACTIVATION
from pipeline.ops._checks import expect_int8, expect_rank
from pipeline.ops._convolution import Weighted
from pipeline.ops._onnx import OnnxWriter, reshaped

CODE_BYTES = 1000  # of fc_autoencoder's in tests/counts


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

    def variants(self, graph: Graph) -> tuple[Variant, ...]:
        """Costs are fitted to the networks of tests/counts, on a Cortex-M4."""
        return self.general(graph, self._general_cost(graph)), self._four_outputs(graph)

    def _general_cost(self, graph: Graph) -> int:
        """Outputs by four and what is left, inputs by four and what is left."""
        y_c, x_c = graph[self.inputs[1]].shape
        a_row = y_c // 4 * (237 + x_c // 4 * 30 + x_c % 4 * 19) + y_c % 4 * (81 + x_c // 4 * 13 + x_c % 4 * 5)
        return graph[self.inputs[0]].size // x_c * a_row

    def _four_outputs(self, graph: Graph) -> Variant:
        """Four outputs at a time, with the weights of two of them in one 16-bit number."""
        name = "fully_connected_s8__dsp"
        w, sums = graph.constant(self.inputs[1]), self.reachable(graph)
        (y_c, x_c), rows = w.shape, graph[self.inputs[0]].size // w.shape[1]
        pair = _pixel_pair.params(np.pad(w, ((0, 0), (0, -x_c % 8))), sums)
        if isinstance(pair, str):
            return Variant(name, (), refused=pair)
        eights, last = pair["fours"] // 2, 20 if sums.clamp[0] >= sums.y_zero else 36  # by constants, by TFLM's formula
        cost = rows * (60 + 10 * eights + -(-y_c // 4) * (15 + last + 27 * eights + 3 * -(-eights // 4)))
        params = {"rows": rows, "x_c": x_c, "pair": pair}
        kernel = Kernel(name, params, self.inputs[:1], self.outputs, scratch_bytes=16 * eights)
        return Variant(name, (kernel,), cost, ("dsp",), CODE_BYTES, self._over(graph), cycles_each=1.45)

    def _over(self, graph: Graph) -> dict[int, Shift]:
        """A row is in the scratch before its outputs are written."""
        y_c, x_c = graph[self.inputs[1]].shape
        return {0: (None, None)} if graph[self.inputs[0]].size == x_c else {0: (None, 0)} if y_c <= x_c else {}

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
