"""2-D convolution, int8, per-channel weight scales, optional groups: TFLite's CONV_2D."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.fixedpoint import integer_matmul
from pipeline.ir import Array, Graph, Tensor, TfliteNode
from pipeline.kernel import Kernel, Variant
from pipeline.ops import _pixel_pair
from pipeline.ops._convolution import Convolution
from pipeline.ops._onnx import TO_NCHW, OnnxWriter

POINTWISE_CODE_BYTES, IM2COL_CODE_BYTES = 1364, 2632  # of mobilenet_v1_025 and resnet8 in tests/counts


@dataclass(frozen=True, kw_only=True)
class Conv2d(Convolution):
    """y = clamp(requantize(sum (x - x_zero) * w + bias) + y_zero).

    inputs: x (1,H,W,C), w (O,KH,KW,C/groups), [bias (O,)].
    """

    rounding = "requant"

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

    def variants(self, graph: Graph) -> tuple[Variant, ...]:
        """Costs are fitted to the networks of tests/counts, on a Cortex-M4."""
        general = self.general(graph, cost=self.macs(graph) * 11 // 5 + 77 * graph[self.output].size)
        return (general, self._pointwise(graph), self._im2col(graph))

    def _pointwise(self, graph: Graph) -> Variant:
        """Two pixels by four channels, for 1x1 weights; each pair of pixels is widened in the scratch."""
        name = "conv2d_s8_1x1__dsp"
        (_, k_h, k_w, x_c), (_, y_h, y_w, y_c) = graph[self.inputs[1]].shape, graph[self.output].shape
        if (k_h, k_w) != (1, 1):
            return Variant(name, (), refused=f"its weights are {k_h}x{k_w}, not 1x1")
        if self.stride != (1, 1) or any(self.pads):
            return Variant(name, (), refused="it has a stride or padding")
        cost = _pixel_pair.cost(-(-y_h * y_w // 2), 1, x_c, y_c)
        return self._by_pairs(graph, name, {"pixels": y_h * y_w, "x_c": x_c}, 0, cost, POINTWISE_CODE_BYTES)

    def _im2col(self, graph: Graph) -> Variant:
        """The same for any window: the scratch holds what two neighbouring windows do, and three rows."""
        (_, k_h, k_w, k_c), (_, y_h, y_w, y_c) = graph[self.inputs[1]].shape, graph[self.output].shape
        params = {"window": self.window(graph), "x_zero": graph[self.inputs[0]].zero_point}
        pairs = y_h * -(-y_w // 2)
        cost = _pixel_pair.cost(pairs, k_h, k_w * k_c, y_c) + pairs * (60 + 35 * k_h) + self._gathered(graph) * (15 + k_c)
        name = "conv2d_s8_im2col__dsp"
        return self._by_pairs(graph, name, params, 3 * k_w * k_c, cost, IM2COL_CODE_BYTES)

    def _gathered(self, graph: Graph) -> int:
        """How many places all windows have in rows of the image that they do not read in one run."""
        (_, x_h, x_w, _), (_, k_h, k_w, _) = graph[self.inputs[0]].shape, graph[self.inputs[1]].shape
        _, y_h, y_w, _ = graph[self.output].shape
        rows = np.arange(y_h)[:, None] * self.stride[0] - self.pads[0] + np.arange(k_h) * self.dilation[0]
        columns = np.arange(y_w) * self.stride[1] - self.pads[2]
        in_one_run = ((columns >= 0) & (columns + k_w <= x_w)).sum() if self.dilation[1] == 1 else 0
        return int(k_w * ((rows >= 0) & (rows < x_h)).sum() * (y_w - in_one_run))

    def _by_pairs(
        self, graph: Graph, name: str, params: dict[str, Any], scratch: int, cost: int, code_bytes: int
    ) -> Variant:
        """A variant over `pixel_pair.h`, with so much scratch beside the columns."""
        w = graph.constant(self.inputs[1])
        channels, k_h, k_w, k_c = w.shape
        if k_c != graph[self.inputs[0]].shape[3]:
            return Variant(name, (), refused="it has groups")
        sums = self.reachable(graph)
        if refused := _pixel_pair.unfit(w, sums):
            return Variant(name, (), refused=refused)
        pair = _pixel_pair.params(w.reshape(channels, k_h, k_w * k_c), sums)
        kernel = Kernel(name, {**params, "pair": pair}, self.inputs[:1], self.outputs, 16 * pair["fours"] + scratch)
        return Variant(name, (kernel,), cost, ("dsp",), code_bytes)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return self.convolution_nodes(graph, "CONV_2D", "Conv2DOptions")

    def macs(self, graph: Graph) -> int:
        return graph[self.output].size * math.prod(graph[self.inputs[1]].shape[1:])

    def onnx(self, w: OnnxWriter) -> None:
        x, weights = w.graph[self.inputs[0]], w.graph.constant(self.inputs[1])
        self.onnx_convolution(w, weights.transpose(TO_NCHW), x.shape[3] // weights.shape[3])
