"""2-D depthwise convolution, int8, per-channel weight scales: TFLite's DEPTHWISE_CONV_2D."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pipeline.ir import Array, Graph, Tensor, TfliteNode
from pipeline.kernel import Kernel, Shift, Variant
from pipeline.ops._activation import clamp_range
from pipeline.ops._convolution import Convolution
from pipeline.ops._onnx import OnnxWriter
from pipeline.ops._short_requant import short_weight_params
from pipeline.ops._window import spatial
from pipeline.requantization import fit

CODE_BYTES = {3: 2608, 5: 1700}  # of the variant for windows of this size, with what it takes of cells.h
PROVEN_FACTOR, PROVEN_SHIFT = 256, 10  # of weights and of constants, in depthwise_conv2d_s8_3x3__dsp.h
CELL_BYTES = 128  # of the scratch, for each two columns: eight rows of four channels
SCRATCH_LIMIT = 16_384  # a row of 250 pixels


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

    def variants(self, graph: Graph) -> tuple[Variant, ...]:
        """Costs are fitted to the networks of tests/counts, on a Cortex-M4."""
        return (
            self.general(graph, cost=6 * self._macs_inside(graph) + 58 * graph[self.output].size),
            self._by_rows(graph, 3),
            self._by_rows(graph, 5),
        )

    def _macs_inside(self, graph: Graph) -> int:
        """Multiply-accumulates with a pixel of the image, not of the padding."""
        x, w, y = (graph[n] for n in (*self.inputs[:2], self.output))
        padding = self.pads[::2]

        def inside(i: int) -> int:
            start = np.arange(spatial(y)[i])[:, None] * self.stride[i] - padding[i]
            at = start + np.arange(spatial(w)[i]) * self.dilation[i]
            return int(((at >= 0) & (at < spatial(x)[i])).sum())

        return inside(0) * inside(1) * y.shape[3]

    def _by_rows(self, graph: Graph, size: int) -> Variant:
        """Two outputs of a channel at a time, from rows that are laid out by channels in the scratch: for windows of 3x3, or
        for those up to 5x5."""
        name, needs = f"depthwise_conv2d_s8_{size}x{size}__dsp", ("dsp",)
        singles, cells = self._row(graph, size)
        weights = short_weight_params(self, graph)
        refused = self._not_by_rows(graph, size, CELL_BYTES * cells)
        if refused or isinstance(weights, str):
            return Variant(name, (), refused=refused or str(weights))
        cost = self._cost_by_rows(graph, size, singles, cells)
        params = {"window": self.window(graph), "weights": self._proven(graph, weights) if size == 3 else weights}
        kernel = Kernel(name, params, self.inputs[:1], self.outputs, scratch_bytes=CELL_BYTES * cells)
        over: dict[int, Shift] = {0: (0, 0)} if self._stays_behind(graph) else {}
        return Variant(name, (kernel,), cost, needs, CODE_BYTES[size], over, cycles_each=1.45)

    def _proven(self, graph: Graph, weights: dict[str, Any]) -> dict[str, Any]:
        """`weights` with the start of each channel's sum instead of its bias: with proven constants and shift 0 where there
        are any, else doubled, for TFLM's formula."""
        sums = self.reachable(graph)
        channels = np.arange(len(sums.low))
        multiplier, shift = (
            weights[n][channels if weights["per_channel"] else 0 * channels] for n in ("multiplier", "shift")
        )
        # Halves away from zero, on both sides of it, are a step that two instructions can not have: not worth a search.
        finest = np.full_like(channels, PROVEN_SHIFT if sums.clamp[0] >= sums.y_zero else -1)
        found = fit(sums, np.full_like(channels, PROVEN_FACTOR), finest, addends=False)
        return {
            **weights,
            "bias": np.where(found.proven, found.start, 2 * sums.bias).astype(np.int32),
            "per_channel": 1,
            "multiplier": np.where(found.proven, found.multiplier, multiplier).astype(np.int32),
            "shift": np.where(found.proven, 0, shift).astype(np.int8),
        }

    def _stays_behind(self, graph: Graph) -> bool:
        """Whether outputs by rows can be written over the input, each over its own channel: no channel is computed twice,
        and eight rows are in the scratch, of which those that the next outputs need, too, stay there."""
        _, y_h, _, channels = graph[self.output].shape
        at_once = (8 - spatial(graph[self.inputs[1]])[0]) // self.stride[0] + 1
        written = np.arange(at_once, y_h, at_once)
        kept = 8 - at_once * self.stride[0]
        return channels % 4 == 0 and not self.lead(graph, written, written * self.stride[0] + kept - self.pads[0])

    def _row(self, graph: Graph, size: int) -> tuple[int, int]:
        """Of a row of outputs: those that are computed one by one, not two a step; the pairs of columns that are read."""
        columns = graph[self.output].shape[2]
        singles = columns % 2 if self.stride[1] == 1 else columns
        return singles, (columns + singles) // 2 + size // 2

    def _cost_by_rows(self, graph: Graph, size: int, singles: int, cells: int) -> int:
        y, height = graph[self.output], graph[self.inputs[1]].shape[1]
        _, rows, columns, channels = y.shape
        low, high = clamp_range(self.activation, y)
        if size == 5:
            start, two, one = 17, 22 + 12 * height, 16 + 9 * height
        else:
            start, two, one = (7, 24, 15) if low >= y.zero_point else (13, 30, 20)  # by proven constants, by TFLM's formula
        a_row = start + two * ((columns - singles) // 2) + one * singles
        strips = -(-rows // ((8 - height) // self.stride[0] + 1))
        rows_read = (rows - 1) * self.stride[0] + height
        four_channels = 300 + 216 * strips + 4 * rows * a_row + rows_read * (35 + 20 * cells)
        clamp = 7 * y.size if (low, high) != (-128, 127) else 0
        return -(-channels // 4) * four_channels + clamp

    def _not_by_rows(self, graph: Graph, size: int, scratch: int) -> str | None:
        kernel, channels = spatial(graph[self.inputs[1]]), graph[self.output].shape[3]
        if max(kernel) > size or self.dilation != (1, 1) or (size == 3 and kernel != (3, 3)):
            wanted = "3x3" if size == 3 else "at most 5x5"
            return f"its weights are {kernel[0]}x{kernel[1]} with dilation {self.dilation}, not {wanted} without"
        if max(self.stride) > 2:
            return f"its stride is {self.stride}, not one or two"
        if self._multiplier(graph) != 1:
            return f"it has {self._multiplier(graph)} outputs for each input channel"
        if channels < 4:
            return f"{channels} channels are fewer than four"
        if scratch > SCRATCH_LIMIT:
            return f"rows of {graph[self.output].shape[2]} outputs would take {scratch:,} bytes of scratch"
        return None

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        more = {"depthMultiplier": self._multiplier(graph)}
        return self.convolution_nodes(graph, "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", more)

    def macs(self, graph: Graph) -> int:
        return graph[self.output].size * math.prod(spatial(graph[self.inputs[1]]))

    def onnx(self, w: OnnxWriter) -> None:
        x, weights = w.graph[self.inputs[0]], w.graph.constant(self.inputs[1])
        self.onnx_convolution(w, weights.transpose(3, 0, 1, 2), x.shape[3])  # 1HWC to C1HW
