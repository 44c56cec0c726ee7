"""2-D convolution, int8, per-channel weight scales, optional groups: TFLite's CONV_2D."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import integer_matmul
from pipeline.ir import Array, Graph, Kernel, Tensor, TfliteNode
from pipeline.ops._convolution import Convolution


@dataclass(frozen=True, kw_only=True)
class Conv2d(Convolution):
    """y = clamp(requantize(sum (x - x_zero) * w + bias) + y_zero).

    inputs: x (1,H,W,C), w (O,KH,KW,C/groups), [bias (O,)].
    """

    def check_channels(self, x: Tensor, w: Tensor) -> None:
        if x.shape[3] % w.shape[3] or w.shape[0] % (x.shape[3] // w.shape[3]):
            raise self.fail(f"{x.shape[3]} input channels do not split into groups for weights {w.shape}")

    def sums(self, graph: Graph, x: Array, w: Array) -> Array:
        in_group = w.shape[3]
        groups = x.shape[-1] // in_group
        out_group = w.shape[0] // groups
        acc = np.zeros((len(x), *graph[self.output].shape), np.int64)
        for i, j, patch in self.patches(graph, x):
            for g in range(groups):
                o, c = slice(g * out_group, (g + 1) * out_group), slice(g * in_group, (g + 1) * in_group)
                acc[..., o] += integer_matmul(patch[..., c], w[o, i, j, :].T)
        return acc

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        k_c = graph[self.inputs[1]].shape[3]
        params = {"window": self.window(graph), "k_c": k_c, "weights": self.weight_params(graph)}
        return (Kernel("conv2d_s8", params, self.inputs[:1], self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return self.convolution_nodes(graph, "CONV_2D", "Conv2DOptions")

    def macs(self, graph: Graph) -> int:
        return graph[self.output].size * math.prod(graph[self.inputs[1]].shape[1:])
