"""2-D maximum pooling, int8: TFLite's MAX_POOL_2D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8
from pipeline.ir import Array, Graph, Kernel, Op, Storage, TfliteNode
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation, clamp_range
from pipeline.ops._pool import check_pool, pool_attributes, pool_storage
from pipeline.ops._window import Pads, Pair, explicit_pad, spatial, tflite_padding, window_params, windows


@dataclass(frozen=True, kw_only=True)
class MaxPool2d(Op):
    """The largest value under the window; padding never wins. inputs: x (1,H,W,C); input and output are quantised alike."""

    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    activation: Activation = "none"

    def check(self, graph: Graph) -> None:
        check_pool(self, graph, self.kernel, self.stride, self.pads)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        y = graph[self.output]
        largest = np.full((len(args[0]), *y.shape), -128, np.int8)
        for _, _, values in windows(args[0], self.kernel, self.stride, (1, 1), self.pads, spatial(y), -128):
            largest = np.maximum(largest, values)
        return (clamp_int8(largest, *clamp_range(self.activation, y)),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, y = graph[self.inputs[0]], graph[self.output]
        low, high = clamp_range(self.activation, y)
        window = window_params(x, y, self.kernel, self.stride, (1, 1), self.pads)
        params = {"window": window, "clamp_min": low, "clamp_max": high}
        return (Kernel("max_pool2d_s8", params, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        x, y = graph[self.inputs[0]], graph[self.output]
        padding = tflite_padding(spatial(x), spatial(y), self.kernel, self.stride, (1, 1), self.pads)
        source = self.inputs[0] if padding else f"{self.output}/padded"
        attributes = pool_attributes(self.kernel, self.stride, padding or "VALID", TFLITE_ACTIVATION[self.activation])
        node = TfliteNode("MAX_POOL_2D", (source,), self.outputs, "Pool2DOptions", attributes, version=2)
        return (node,) if padding else (explicit_pad(self.inputs[0], source, x, self.pads, value=-128), node)

    def storage(self, graph: Graph) -> Storage:
        return pool_storage(self.pads)
