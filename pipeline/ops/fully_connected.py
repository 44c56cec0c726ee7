"""Matrix multiplication with constant weights, int8: TFLite's FULLY_CONNECTED."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8, integer_matmul, requantize
from pipeline.ir import Array, Graph, Kernel, Op, TfliteNode
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation, clamp_range
from pipeline.ops._checks import expect_int8, expect_rank
from pipeline.ops._convolution import check_weights, per_channel_requant, weight_params


@dataclass(frozen=True, kw_only=True)
class FullyConnected(Op):
    """y[r] = clamp(requantize((x[r] - x_zero) @ w.T + bias) + y_zero). inputs: x, w (O,I), [bias (O,)].

    x of any shape is read as rows of I values; y has the same number of rows of O values. With one weight scale for all,
    TFLite (and TFLM of 2024) multiply the scales in float32, which moves the multiplier by up to 6e-8 and shows in exact
    ties alone; TFLM now multiplies in double, and so does this.
    """

    activation: Activation = "none"

    @property
    def bias(self) -> str | None:
        return self.inputs[2] if len(self.inputs) == 3 else None

    def check(self, graph: Graph) -> None:
        x, w, y = (graph[n] for n in (*self.inputs[:2], self.output))
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_rank(self, graph, 2, self.inputs[1])
        check_weights(self, graph, 0, w.shape[0], self.bias)
        features, inputs = w.shape
        if not y.shape or y.shape[-1] != features or x.size % inputs or y.size // features != x.size // inputs:
            raise self.fail(f"weights {w.shape} do not turn input {x.shape} into output {y.shape}")

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        x, w = args[0], args[1]
        tx, tw, ty = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        rows = x.reshape(-1, tw.shape[1]).astype(np.int64) - tx.zero_point
        acc = integer_matmul(rows, w.T)
        if self.bias:
            acc = acc + args[2].reshape(-1)
        y = requantize(acc, *per_channel_requant(tx, tw, ty, tw.shape[0])) + ty.zero_point
        return (clamp_int8(y, *clamp_range(self.activation, ty)).reshape(x.shape[0], *ty.shape),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, w, y = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        params = {
            "rows": x.size // w.shape[1],
            "x_c": w.shape[1],
            "y_c": w.shape[0],
            **weight_params(self, graph, per_channel_requant(x, w, y, w.shape[0]), self.activation, self.bias),
        }
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
