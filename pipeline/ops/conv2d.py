"""2-D convolution, int8, per-channel weight scales, optional groups: TFLite's CONV_2D."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.fixedpoint import integer_matmul
from pipeline.ir import Array, Graph, Tensor, TfliteNode
from pipeline.kernel import Kernel, Shift, Variant
from pipeline.ops import _pixel_pair, _winograd
from pipeline.ops._convolution import Convolution
from pipeline.ops._onnx import TO_NCHW, OnnxWriter

CODE_BYTES = {"1x1": 584, "im2col": 1924, "image": 1500}  # in tests/counts


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
        by_tiles = (self._winograd(graph, transform) for transform in (_winograd.TWO, _winograd.FOUR))
        return (general, self._pointwise(graph), self._im2col(graph), *by_tiles)

    def _pointwise(self, graph: Graph) -> Variant:
        """Two pixels at a time, for 1x1 weights; each pair of pixels is widened in the scratch."""
        (_, k_h, k_w, x_c), (_, y_h, y_w, y_c) = graph[self.inputs[1]].shape, graph[self.output].shape
        if (k_h, k_w) != (1, 1):
            return Variant("conv2d_s8_1x1__dsp", (), refused=f"its weights are {k_h}x{k_w}, not 1x1")
        if self.stride != (1, 1) or any(self.pads):
            return Variant("conv2d_s8_1x1__dsp", (), refused="it has a stride or padding")
        params = {"pixels": y_h * y_w, "x_c": x_c}
        more = y_h * y_w * (y_c - x_c)  # the last pixels first, so that it may end after the input
        over: Mapping[int, Shift] = {0: (-more, None) if more > 0 else (None, 0)}
        return self._by_pairs(graph, "1x1", params, x_c, over, 0, 0)

    def _im2col(self, graph: Graph) -> Variant:
        """The same for any window: the scratch also holds the rows that two neighbouring windows lie in, with their padding,
        and what is left of the windows' runs of values beyond fours."""
        (_, _, x_w, x_c), (_, k_h, k_w, _) = graph[self.inputs[0]].shape, graph[self.inputs[1]].shape
        _, y_h, y_w, _ = graph[self.output].shape
        run, span = (k_w if self.dilation[1] == 1 else 1) * x_c, (k_h - 1) * self.dilation[0] + 1
        runs = k_h * k_w * x_c // run
        rest = run % 4 * runs
        rest += -rest % 4
        row_bytes = max((y_w - 1) * self.stride[1] + (k_w - 1) * self.dilation[1] + 1, self.pads[2] + x_w) * x_c
        row_bytes += -row_bytes % 4
        rows = span + (self.stride[0] if y_w % 2 else 0)
        params = {
            "window": self.window(graph), "x_zero": graph[self.inputs[0]].zero_point,
            "rows": rows, "row_bytes": row_bytes, "rest": rest,
        }  # fmt: skip
        each, run_cost = (0, 10) if run % 4 else (110, 40)
        laying = -(-y_h * y_w // 2) * (each + runs * run_cost)
        laying += (y_h * self.stride[0] + k_h) * (50 + row_bytes * 3 // 4)
        lines = np.arange(y_h)  # while one is written
        lead = self.lead(graph, lines + 1, lines * self.stride[0] + span - self.pads[0])
        scratch = 2 * rest + rows * row_bytes
        way = "image" if run % 4 else "im2col"
        return self._by_pairs(graph, way, params, run, {0: (None, -lead)}, scratch, laying)

    def _winograd(self, graph: Graph, transform: _winograd.Transform) -> Variant:
        """By tiles of outputs, with fewer products than there are multiply-accumulates."""
        name = f"conv2d_s8_winograd{transform.side}__dsp"
        w = graph.constant(self.inputs[1])
        _, k_h, k_w, k_c = w.shape
        _, y_h, y_w, _ = graph[self.output].shape
        if (k_h, k_w, *self.stride, *self.dilation) != (3, 3, 1, 1, 1, 1):
            return Variant(name, (), refused="it is no 3x3 convolution of stride 1")
        if k_c != graph[self.inputs[0]].shape[3]:
            return Variant(name, (), refused="it has groups")
        sums = self.reachable(graph)
        if refused := _winograd.unfit(transform, w, sums):
            return Variant(name, (), refused=refused)
        x_zero = graph[self.inputs[0]].zero_point
        params = {"window": self.window(graph), "x_zero": x_zero, **_winograd.params(transform, w, sums)}
        kernel = Kernel(name, params, self.inputs[:1], self.outputs, _winograd.scratch_bytes(transform, y_w, k_c))
        cost = _winograd.cost(transform, y_h, y_w, k_c, sums)
        written = np.arange(transform.side, y_h, transform.side)
        lead = self.lead(graph, written, written + 2 - self.pads[0])
        return Variant(
            name, (kernel,), cost, ("dsp",), transform.code_bytes, {0: (None, -lead)}, transform.cycles_each, _winograd.CODE
        )

    def _by_pairs(
        self,
        graph: Graph,
        way: str,
        params: Mapping[str, Any],
        run: int,
        over: Mapping[int, Shift],
        scratch: int,
        laying: int,
    ) -> Variant:
        """A variant over `pixel_pair.h`, with so much scratch beside the columns and so many instructions to lay them out:
        of each `run` of a window's values first the fours, then what they leave of all runs."""
        name = f"conv2d_s8_{way}__dsp"
        w, sums = graph.constant(self.inputs[1]), self.reachable(graph)
        if w.shape[3] != graph[self.inputs[0]].shape[3]:
            return Variant(name, (), refused="it has groups")
        by_run = w.reshape(len(w), -1, run)
        fours, rests = by_run[..., : run // 4 * 4], by_run[..., run // 4 * 4 :]
        weights = np.concatenate([fours.reshape(len(w), -1), rests.reshape(len(w), -1)], axis=1)
        pair = _pixel_pair.params(weights, sums)
        if isinstance(pair, str):
            return Variant(name, (), refused=pair)
        kernel = Kernel(name, {**params, "pair": pair}, self.inputs[:1], self.outputs, 16 * pair["fours"] + scratch)
        pairs = -(-graph[self.output].size // len(w) // 2)
        cost = laying + _pixel_pair.cost(pairs, weights.shape[1], sums)
        return Variant(name, (kernel,), cost, ("dsp",), CODE_BYTES[way], over, 1.39, _pixel_pair.CODE)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return self.convolution_nodes(graph, "CONV_2D", "Conv2DOptions")

    def macs(self, graph: Graph) -> int:
        return graph[self.output].size * math.prod(graph[self.inputs[1]].shape[1:])

    def onnx(self, w: OnnxWriter) -> None:
        x, weights = w.graph[self.inputs[0]], w.graph.constant(self.inputs[1])
        self.onnx_convolution(w, weights.transpose(TO_NCHW), x.shape[3] // weights.shape[3])
