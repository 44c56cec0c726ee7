"""What the operators with weights share: requantisation constants, conditions, and a convolution's geometry."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from pipeline.fixedpoint import INT32_MAX, clamp_int8, quantize_multiplier, requantize
from pipeline.ir import Array, Graph, Op, Tensor, TfliteNode
from pipeline.kernel import Const
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation, clamp_range
from pipeline.ops._checks import expect_int8, expect_rank
from pipeline.ops._onnx import OnnxWriter, onnx_pads
from pipeline.ops._window import Pads, Pair, check_window, explicit_pad, spatial, tflite_padding, window_params, windows
from pipeline.requantization import Sums


def per_channel_requant(x: Tensor, w: Tensor, y: Tensor, channels: int) -> tuple[Array, Array]:
    """(multiplier, shift), int32, one entry per output channel.

    Source: PopulateConvolutionQuantizationParams in TFLite's kernel_util.cc: the scales are multiplied as doubles.
    """
    assert w.quant is not None  # checked by the operator
    pairs = [quantize_multiplier(x.scale * s / y.scale) for s in w.quant.scale]
    scale = channels // len(pairs)
    return np.array([m for m, _ in pairs] * scale, np.int32), np.array([s for _, s in pairs] * scale, np.int32)


@dataclass(frozen=True, kw_only=True)
class Weighted(Op):
    """y = clamp(requantize(sum (x - x_zero) * w + bias) + y_zero), w with one scale or one per output channel; a subclass
    gives the sums. inputs: x, w, [bias (output channels,)]."""

    channel_axis: ClassVar[int] = 0  # the axis of w that is the output channel

    activation: Activation = "none"

    @property
    def bias(self) -> str | None:
        return self.inputs[2] if len(self.inputs) == 3 else None

    @abstractmethod
    def sums(self, graph: Graph, x: Array, w: Array) -> Array:
        """sum (x - x_zero) * w, exact: int64 (n, *y.shape) of x (n, *x.shape)."""

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        y = graph[self.output]
        acc = self.sums(graph, args[0], args[1]) + (args[2].reshape(-1) if self.bias else 0)
        return (clamp_int8(requantize(acc, *self._requant(graph)) + y.zero_point, *clamp_range(self.activation, y)),)

    def _requant(self, graph: Graph) -> tuple[Array, Array]:
        x, w, y = (graph[n] for n in (*self.inputs[:2], self.output))
        return per_channel_requant(x, w, y, w.shape[self.channel_axis])

    def reachable(self, graph: Graph) -> Sums:
        """The sums of x * w that can occur, and the way from there: the zero point of x is in the bias."""
        x, y = graph[self.inputs[0]], graph[self.output]
        w = graph.constant(self.inputs[1])
        flat = np.moveaxis(w, self.channel_axis, 0).reshape(w.shape[self.channel_axis], -1).astype(np.int64)
        up, down = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
        bias = graph.constant(self.bias).astype(np.int64).reshape(-1) if self.bias else np.zeros(len(flat), np.int64)
        multiplier, shift = (a.astype(np.int64) for a in self._requant(graph))
        return Sums(
            low=-128 * up + 127 * down,
            high=127 * up - 128 * down,
            bias=bias - x.zero_point * (up + down),
            multiplier=multiplier,
            shift=shift,
            y_zero=y.zero_point,
            clamp=clamp_range(self.activation, y),
        )

    def weight_params(self, graph: Graph) -> dict[str, Any]:
        """The fields of the C struct `nn_weights`."""
        multiplier, shift = self._requant(graph)
        quant = graph[self.inputs[1]].quant
        per_channel = quant is not None and len(quant.scale) > 1
        stored = slice(None) if per_channel else slice(1)
        low, high = clamp_range(self.activation, graph[self.output])
        return {
            "x_zero": graph[self.inputs[0]].zero_point,
            "y_zero": graph[self.output].zero_point,
            "clamp_min": low,
            "clamp_max": high,
            "w": Const(self.inputs[1]),
            "bias": Const(self.bias) if self.bias else None,
            "per_channel": int(per_channel),
            "multiplier": multiplier[stored],
            "shift": shift[stored].astype(np.int8),
        }

    def onnx_bias(self, w: OnnxWriter) -> list[str]:
        """The bias in units of the accumulator: input scale times weight scale.

        The reference rounds twice: first to 2**shift, so that its results are on average half of that further from zero than
        ONNX Runtime's. Half of 2**shift is between half an accumulator unit and one: where a ReLU leaves only positive
        results, one unit more in the bias takes most of it away (measured: a third of the differing values is left).
        """
        x, weights, y = (w.graph[n] for n in (*self.inputs[:2], self.output))
        assert weights.quant is not None  # the operators demand it
        _, shift = self._requant(w.graph)
        unit = np.asarray(weights.quant.scale, dtype=np.float32) * np.float32(x.scale)
        positive = clamp_range(self.activation, y)[0] >= y.zero_point
        scales = np.broadcast_to(unit, shift.shape).astype(np.float32)
        return w.bias(self, self.bias, scales, ((shift < 0) & positive).astype(np.int32))

    def check_weights(self, graph: Graph) -> None:
        """Symmetric constant int8 weights with one scale or one per output channel, and a fitting int32 bias."""
        name = self.inputs[1]
        w, values, axis = graph[name], graph.constant(name), self.channel_axis
        channels = w.shape[axis]
        if w.dtype != "int8":
            raise self.fail(f"weights {name!r} are {w.dtype}; only int8 is supported")
        if w.quant is None or w.quant.zero_point != 0:
            raise self.fail(f"weights {name!r} must be symmetric (a scale, zero point 0)")
        if len(w.quant.scale) not in (1, channels) or (len(w.quant.scale) > 1 and w.quant.axis != axis):
            raise self.fail(f"weights {name!r} need 1 or {channels} scales along axis {axis}")
        per_channel = np.moveaxis(values, axis, 0).reshape(channels, -1)
        reach = 255 * int(np.abs(per_channel.astype(np.int16)).sum(axis=1, dtype=np.int64).max())
        if self.bias:
            b = graph[self.bias]
            if b.dtype != "int32" or b.size != channels or b.data is None:
                raise self.fail(f"bias {self.bias!r} must be a constant of {channels} int32 values")
            reach += int(np.abs(b.data.astype(np.int64)).max())
        if reach > INT32_MAX:
            raise self.fail("weights and bias are so large that the 32-bit accumulator can overflow")
        self._requant(graph)


@dataclass(frozen=True, kw_only=True)
class Convolution(Weighted):
    """Weights that slide over an image. inputs: x (1,H,W,C), w with height and width in axes 1 and 2, [bias]."""

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)

    def check(self, graph: Graph) -> None:
        x, w, y = (graph[n] for n in (*self.inputs[:2], self.output))
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_rank(self, graph, 4, *self.inputs[:2], self.output)
        self.check_channels(x, w)
        self.check_weights(graph)
        check_window(self, x, y, spatial(w), self.stride, self.dilation, self.pads, w.shape[self.channel_axis])

    @abstractmethod
    def check_channels(self, x: Tensor, w: Tensor) -> None:
        """GraphError unless the weights' shape, of four axes, fits the input's channels."""

    def patches(self, graph: Graph, x: Array) -> Iterator[tuple[int, int, Array]]:
        """For each place (i, j) of the window: int64 x - x_zero under it, 0 outside the image, (n, 1, h, w of y, C)."""
        tx, w, y = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        for i, j, patch in windows(x, spatial(w), self.stride, self.dilation, self.pads, spatial(y), tx.zero_point):
            yield i, j, patch.astype(np.int64) - tx.zero_point

    def window(self, graph: Graph) -> dict[str, int]:
        """The fields of the C struct `nn_window`."""
        x, w, y = (graph[n] for n in (*self.inputs[:2], self.output))
        return window_params(x, y, spatial(w), self.stride, self.dilation, self.pads)

    def lead(self, graph: Graph, written: Array, unread: Array) -> int:
        """How many bytes the output must start before the input, so that nothing is written over what is still to be read:
        of a kernel that has `written` so many rows while it still reads rows from `unread` on."""
        (_, x_h, *x_row), (_, _, *y_row) = graph[self.inputs[0]].shape, graph[self.output].shape
        ahead = written * math.prod(y_row) - np.maximum(unread, 0) * math.prod(x_row)
        return int(ahead[unread < x_h].max(initial=0))

    def onnx_convolution(self, w: OnnxWriter, weights: Array, group: int) -> None:
        """`weights` are ONNX's (O, C/groups, KH, KW)."""
        inputs = [w.real(self.inputs[0], "nchw"), w.weights(self, self.inputs[1], weights, axis=0), *self.onnx_bias(w)]
        y = w.node(
            "Conv", inputs, f"{self.output}/conv", kernel_shape=list(weights.shape[2:]), strides=list(self.stride),
            dilations=list(self.dilation), pads=onnx_pads(self.pads), group=group,
        )  # fmt: skip
        w.store(y, self.output, "nchw", self.activation)

    def convolution_nodes(
        self, graph: Graph, builtin: str, options: str, more: Mapping[str, Any] = MappingProxyType({})
    ) -> tuple[TfliteNode, ...]:
        """The .tflite operator, after a PAD where TFLite has no word for these pads; `more` goes into its options."""
        x, w, y = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        padding = tflite_padding(spatial(x), spatial(y), spatial(w), self.stride, self.dilation, self.pads)
        source = self.inputs[0] if padding else f"{self.output}/padded"
        attributes = {
            "padding": padding or "VALID",
            "strideH": self.stride[0], "strideW": self.stride[1],
            "dilationHFactor": self.dilation[0], "dilationWFactor": self.dilation[1],
            "fusedActivationFunction": TFLITE_ACTIVATION[self.activation],
            **more,
        }  # fmt: skip
        node = TfliteNode(builtin, (source, self.inputs[1], self.bias), self.outputs, options, attributes, version=3)
        return (node,) if padding else (explicit_pad(self.inputs[0], source, x, self.pads), node)
