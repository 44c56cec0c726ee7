"""2-D convolution, int8, per-channel weight scales, optional groups: TFLite's CONV_2D."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import integer_matmul
from pipeline.ir import Array, Graph, Kernel, Tensor, TfliteNode, Variant
from pipeline.ops._convolution import Convolution
from pipeline.ops._onnx import TO_NCHW, OnnxWriter

POINTWISE_CODE_BYTES = 648  # of mobilenet_v1_025's in tests/counts


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
        outputs, macs = graph[self.output].size, self.macs(graph)
        return (
            self.general(graph, cost=macs * 11 // 5 + 77 * outputs),
            self._pointwise(graph, macs * 13 // 10 + 56 * outputs),
        )

    def _pointwise(self, graph: Graph, cost: int) -> Variant:
        """Two pixels by two channels, for 1x1 weights; each pair of pixels is widened in the scratch."""
        name, refused = "conv2d_s8_1x1__dsp", self._not_pointwise(graph)
        if refused:
            return Variant(name, (), cost, ("dsp",), refused=refused)
        y_c, _, _, x_c = graph[self.inputs[1]].shape
        params = {"pixels": graph[self.output].size // y_c, "x_c": x_c, "y_c": y_c, "weights": self.weight_params(graph)}
        kernel = Kernel(name, params, self.inputs[:1], self.outputs, scratch_bytes=4 * x_c)
        return Variant(name, (kernel,), cost, ("dsp",), code_bytes=POINTWISE_CODE_BYTES)

    def _not_pointwise(self, graph: Graph) -> str | None:
        y_c, *kernel, x_c = graph[self.inputs[1]].shape
        if kernel != [1, 1]:
            return f"its weights are {kernel[0]}x{kernel[1]}, not 1x1"
        if self.stride != (1, 1) or any(self.pads):
            return "it has a stride or padding"
        if x_c != graph[self.inputs[0]].shape[3]:
            return "it has groups"
        if x_c % 4 or y_c % 2:
            return f"{x_c} input and {y_c} output channels are not multiples of 4 and 2"
        return None

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return self.convolution_nodes(graph, "CONV_2D", "Conv2DOptions")

    def macs(self, graph: Graph) -> int:
        return graph[self.output].size * math.prod(graph[self.inputs[1]].shape[1:])

    def onnx(self, w: OnnxWriter) -> None:
        x, weights = w.graph[self.inputs[0]], w.graph.constant(self.inputs[1])
        self.onnx_convolution(w, weights.transpose(TO_NCHW), x.shape[3] // weights.shape[3])
