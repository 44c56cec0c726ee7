"""2-D average pooling, int8: TFLite's AVERAGE_POOL_2D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.kernel import Kernel, Variant
from pipeline.ops._activation import clamp_range
from pipeline.ops._onnx import OnnxWriter, onnx_pads
from pipeline.ops._pool import Pool
from pipeline.ops._window import spatial, windows

MOST_PIXELS = 256  # whose sum fits 16 bits


@dataclass(frozen=True, kw_only=True)
class AveragePool2d(Pool):
    """The mean of the values under the window that lie inside the image: padding is not counted. inputs: x (1,H,W,C).

    The mean of the quantised values, rounded half away from zero; input and output are quantised alike.
    """

    rounding = "mean"

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        x, y = graph[self.inputs[0]], graph[self.output]
        total, count = np.zeros((len(args[0]), *y.shape), np.int64), np.zeros((1, *y.shape), np.int64)
        geometry = self.kernel, self.stride, (1, 1), self.pads, spatial(y), 0
        for (_, _, values), (_, _, inside) in zip(
            windows(args[0], *geometry), windows(np.ones((1, *x.shape), np.int8), *geometry), strict=True
        ):
            total += values
            count += inside
        mean = np.sign(total) * ((np.abs(total) + count // 2) // count)
        return (clamp_int8(mean, *clamp_range(self.activation, y)),)

    def variants(self, graph: Graph) -> tuple[Variant, ...]:
        """Costs are fitted to the networks of tests/counts, on a Cortex-M4."""
        pixels = self.kernel[0] * self.kernel[1]
        return (self.general(graph, cost=graph[self.output].size * (25 + 6 * pixels)), self._whole(graph, pixels))

    def _whole(self, graph: Graph, pixels: int) -> Variant:
        """Four channels at a time, of a window that is the image."""
        name, (x, y) = "average_pool2d_s8_whole__dsp", (graph[n] for n in (*self.inputs, self.output))
        if self.kernel != spatial(x) or spatial(y) != (1, 1) or any(self.pads):
            return Variant(name, (), refused="its window is not the whole image")
        if pixels > MOST_PIXELS:
            return Variant(name, (), refused=f"sums of {pixels:,} values do not fit 16 bits")
        low, high = clamp_range(self.activation, y)
        params = {"pixels": pixels, "x_c": y.size, "clamp_min": low, "clamp_max": high}
        cost = -(-y.size // 4) * (125 + 8 * pixels)
        return Variant(name, (Kernel(name, params, self.inputs, self.outputs),), cost, ("dsp",))

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        padding = self.tflite_padding(graph)
        if padding is None:
            raise self.fail(
                f"pads {self.pads} are neither TFLite's SAME nor VALID, and a pad operator would be counted in the mean; "
                "choose such pads, or count the padding (count_include_pad) with a pad operator in front"
            )
        attributes = self.tflite_attributes(padding)
        return (TfliteNode("AVERAGE_POOL_2D", self.inputs, self.outputs, "Pool2DOptions", attributes, version=2),)

    def monotonic(self, graph: Graph) -> bool:
        return True

    def onnx(self, w: OnnxWriter) -> None:
        x = w.graph[self.inputs[0]]
        source = w.averaged(self.inputs[0])
        if self.kernel == x.shape[1:3] and not any(self.pads):
            value = w.node("GlobalAveragePool", [source], f"{self.output}/mean")
        else:
            value = w.node(
                "AveragePool", [source], f"{self.output}/mean", kernel_shape=list(self.kernel), strides=list(self.stride),
                pads=onnx_pads(self.pads), count_include_pad=0,
            )  # fmt: skip
        w.store(value, self.output, "nchw", self.activation)
