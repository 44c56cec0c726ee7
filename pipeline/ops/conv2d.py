"""2-D convolution, int8, per-channel weight scales, optional groups: TFLite's CONV_2D."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8, integer_matmul, requantize
from pipeline.ir import Array, Graph, Kernel, Op, TfliteNode
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation, clamp_range
from pipeline.ops._checks import expect_int8, expect_rank
from pipeline.ops._convolution import check_weights, per_channel_requant, weight_params
from pipeline.ops._window import Pads, Pair, check_window, explicit_pad, spatial, tflite_padding, window_params, windows


@dataclass(frozen=True, kw_only=True)
class Conv2d(Op):
    """y = clamp(requantize(sum (x - x_zero) * w + bias) + y_zero).

    inputs: x (1,H,W,C), w (O,KH,KW,C/groups), [bias (O,)].
    """

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    activation: Activation = "none"

    @property
    def bias(self) -> str | None:
        return self.inputs[2] if len(self.inputs) == 3 else None

    def check(self, graph: Graph) -> None:
        x, w, y = (graph[n] for n in (*self.inputs[:2], self.output))
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_rank(self, graph, 4, *self.inputs[:2], self.output)
        if x.shape[3] % w.shape[3] or w.shape[0] % (x.shape[3] // w.shape[3]):
            raise self.fail(f"{x.shape[3]} input channels do not split into groups for weights {w.shape}")
        check_weights(self, graph, 0, w.shape[0], self.bias)
        check_window(self, x, y, spatial(w), self.stride, self.dilation, self.pads, w.shape[0])

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        x, w = args[0], args[1]
        tx, tw, ty = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        groups = tx.shape[3] // tw.shape[3]
        per_group = tw.shape[0] // groups
        acc = np.zeros((x.shape[0], *ty.shape), np.int64)
        for i, j, patch in windows(x, spatial(tw), self.stride, self.dilation, self.pads, spatial(ty), tx.zero_point):
            centred = patch.astype(np.int64) - tx.zero_point
            for g in range(groups):
                o, c = slice(g * per_group, (g + 1) * per_group), slice(g * tw.shape[3], (g + 1) * tw.shape[3])
                acc[..., o] += integer_matmul(centred[..., c], w[o, i, j, :].T)
        if self.bias:
            acc += args[2].reshape(-1)
        y = requantize(acc, *per_channel_requant(tx, tw, ty, tw.shape[0])) + ty.zero_point
        return (clamp_int8(y, *clamp_range(self.activation, ty)),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, w, y = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        params = {
            "window": window_params(x, y, spatial(w), self.stride, self.dilation, self.pads),
            "k_c": w.shape[3],
            **weight_params(self, graph, per_channel_requant(x, w, y, w.shape[0]), self.activation, self.bias),
        }
        return (Kernel("conv2d_s8", params, self.inputs[:1], self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        x, w, y = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        padding = tflite_padding(spatial(x), spatial(y), spatial(w), self.stride, self.dilation, self.pads)
        source = self.inputs[0] if padding else f"{self.output}/padded"
        attributes = {
            "padding": padding or "VALID",
            "strideH": self.stride[0], "strideW": self.stride[1],
            "dilationHFactor": self.dilation[0], "dilationWFactor": self.dilation[1],
            "fusedActivationFunction": TFLITE_ACTIVATION[self.activation],
        }  # fmt: skip
        inputs = (source, self.inputs[1], self.bias)
        node = TfliteNode("CONV_2D", inputs, self.outputs, "Conv2DOptions", attributes, version=3)
        return (node,) if padding else (explicit_pad(self.inputs[0], source, x, self.pads), node)

    def macs(self, graph: Graph) -> int:
        return graph[self.output].size * math.prod(graph[self.inputs[1]].shape[1:])
