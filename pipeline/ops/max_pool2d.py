"""2-D maximum pooling, int8: TFLite's MAX_POOL_2D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.ops._activation import clamp_range
from pipeline.ops._onnx import OnnxWriter, onnx_pads
from pipeline.ops._pool import Pool
from pipeline.ops._window import explicit_pad, spatial, windows


@dataclass(frozen=True, kw_only=True)
class MaxPool2d(Pool):
    """The largest value under the window; padding never wins. inputs: x (1,H,W,C); input and output are quantised alike."""

    rounding = "exact"

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        y = graph[self.output]
        largest = np.full((len(args[0]), *y.shape), -128, np.int8)
        for _, _, values in windows(args[0], self.kernel, self.stride, (1, 1), self.pads, spatial(y), -128):
            largest = np.maximum(largest, values)
        return (clamp_int8(largest, *clamp_range(self.activation, y)),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        x, padding = graph[self.inputs[0]], self.tflite_padding(graph)
        source = self.inputs[0] if padding else f"{self.output}/padded"
        attributes = self.tflite_attributes(padding or "VALID")
        node = TfliteNode("MAX_POOL_2D", (source,), self.outputs, "Pool2DOptions", attributes, version=2)
        return (node,) if padding else (explicit_pad(self.inputs[0], source, x, self.pads, value=-128), node)

    def monotonic(self, graph: Graph) -> bool:
        return True

    def onnx(self, w: OnnxWriter) -> None:
        value = w.node(
            "MaxPool", [w.stored(self.inputs[0], "nchw")], f"{self.output}/max", kernel_shape=list(self.kernel),
            strides=list(self.stride), pads=onnx_pads(self.pads),
        )  # fmt: skip
        w.keep(value, self.output, "nchw", self.activation)
