"""2-D depthwise convolution, int8, per-channel weight scales: TFLite's DEPTHWISE_CONV_2D."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.ir import Array, Graph, Kernel, Tensor, TfliteNode
from pipeline.ops._convolution import Convolution
from pipeline.ops._onnx import OnnxWriter
from pipeline.ops._window import spatial


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv2d(Convolution):
    """As conv2d, each output channel from one input channel. inputs: x (1,H,W,C), w (1,KH,KW,C*m), [bias (C*m,)].

    The depth multiplier m comes from the shapes; output channel o reads input channel o // m.
    """

    rounding = "requant"

    channel_axis: ClassVar[int] = 3

    def check_channels(self, x: Tensor, w: Tensor) -> None:
        if w.shape[0] != 1 or w.shape[3] % x.shape[3]:
            raise self.fail(f"weights {w.shape} must be (1, KH, KW, a multiple of {x.shape[3]} input channels)")

    def _multiplier(self, graph: Graph) -> int:
        return graph[self.inputs[1]].shape[3] // graph[self.inputs[0]].shape[3]

    def sums(self, graph: Graph, x: Array, w: Array) -> Array:
        acc = np.zeros((len(x), *graph[self.output].shape), np.int64)
        for i, j, patch in self.patches(graph, x):
            acc += np.repeat(patch, self._multiplier(graph), axis=-1) * w[0, i, j]
        return acc

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        multiplier = self._multiplier(graph)
        params = {"window": self.window(graph), "depth_multiplier": multiplier, "weights": self.weight_params(graph)}
        return (Kernel("depthwise_conv2d_s8", params, self.inputs[:1], self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        more = {"depthMultiplier": self._multiplier(graph)}
        return self.convolution_nodes(graph, "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", more)

    def macs(self, graph: Graph) -> int:
        return graph[self.output].size * math.prod(spatial(graph[self.inputs[1]]))

    def onnx(self, w: OnnxWriter) -> None:
        x, weights = w.graph[self.inputs[0]], w.graph.constant(self.inputs[1])
        self.onnx_convolution(w, weights.transpose(3, 0, 1, 2), x.shape[3])  # 1HWC to C1HW
