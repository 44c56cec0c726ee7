"""2-D depthwise convolution, int8, per-channel weight scales: TFLite's DEPTHWISE_CONV_2D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8, requantize
from pipeline.ir import Array, Graph, Kernel, Op, TfliteNode
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation, clamp_range
from pipeline.ops._checks import expect_int8, expect_rank
from pipeline.ops._convolution import check_weights, per_channel_requant, weight_params
from pipeline.ops._window import Pads, Pair, check_window, explicit_pad, spatial, tflite_padding, window_params, windows


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2d(Op):
    """As conv2d, each output channel from one input channel. inputs: x (1,H,W,C), w (1,KH,KW,C*m), [bias (C*m,)].

    The depth multiplier m comes from the shapes; output channel o reads input channel o // m.
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
        if w.shape[0] != 1 or w.shape[3] % x.shape[3]:
            raise self.fail(f"weights {w.shape} must be (1, KH, KW, a multiple of {x.shape[3]} input channels)")
        check_weights(self, graph, 3, w.shape[3], self.bias)
        check_window(self, x, y, spatial(w), self.stride, self.dilation, self.pads, w.shape[3])

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        x, w = args[0], args[1]
        tx, tw, ty = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        per_input = tw.shape[3] // tx.shape[3]
        acc = np.zeros((x.shape[0], *ty.shape), np.int64)
        for i, j, patch in windows(x, spatial(tw), self.stride, self.dilation, self.pads, spatial(ty), tx.zero_point):
            acc += np.repeat(patch.astype(np.int64) - tx.zero_point, per_input, axis=-1) * w[0, i, j]
        if self.bias:
            acc += args[2].reshape(-1)
        y = requantize(acc, *per_channel_requant(tx, tw, ty, tw.shape[3])) + ty.zero_point
        return (clamp_int8(y, *clamp_range(self.activation, ty)),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, w, y = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        params = {
            "window": window_params(x, y, spatial(w), self.stride, self.dilation, self.pads),
            "depth_multiplier": w.shape[3] // x.shape[3],
            **weight_params(self, graph, per_channel_requant(x, w, y, w.shape[3]), self.activation, self.bias),
        }
        return (Kernel("depthwise_conv2d_s8", params, self.inputs[:1], self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        x, w, y = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        padding = tflite_padding(spatial(x), spatial(y), spatial(w), self.stride, self.dilation, self.pads)
        source = self.inputs[0] if padding else f"{self.output}/padded"
        attributes = {
            "padding": padding or "VALID",
            "strideH": self.stride[0], "strideW": self.stride[1],
            "dilationHFactor": self.dilation[0], "dilationWFactor": self.dilation[1],
            "depthMultiplier": w.shape[3] // x.shape[3],
            "fusedActivationFunction": TFLITE_ACTIVATION[self.activation],
        }  # fmt: skip
        inputs = (source, self.inputs[1], self.bias)
        node = TfliteNode("DEPTHWISE_CONV_2D", inputs, self.outputs, "DepthwiseConv2DOptions", attributes, version=3)
        return (node,) if padding else (explicit_pad(self.inputs[0], source, x, self.pads), node)

    def macs(self, graph: Graph) -> int:
        w = graph[self.inputs[1]]
        return graph[self.output].size * w.shape[1] * w.shape[2]
