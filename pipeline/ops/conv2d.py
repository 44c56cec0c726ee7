"""2-D convolution, int8, per-channel weight scales, optional groups: TFLite's CONV_2D."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8, integer_matmul, quantize_multiplier, requantize
from pipeline.ir import Array, Const, Graph, Kernel, Op, Tensor, TfliteNode
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation, clamp_range
from pipeline.ops._window import Pads, Pair, output_size, tflite_padding, windows


def per_channel_requant(x: Tensor, w: Tensor, y: Tensor, channels: int) -> tuple[Array, Array]:
    """(multiplier, shift) int32 arrays, one entry per output channel.

    Source: PopulateConvolutionQuantizationParams in TFLite's kernel_util.cc: the scales are multiplied as doubles.
    """
    assert w.quant is not None  # checked by the operator
    scales = w.quant.scale if len(w.quant.scale) == channels else w.quant.scale * channels
    pairs = [quantize_multiplier(x.scale * s / y.scale) for s in scales]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int32)


def check_convolution(op: Op, graph: Graph, channel_axis: int, channels: int) -> None:
    """What every convolution-like operator demands of its x, w and optional bias."""
    x, w, y = graph[op.inputs[0]], graph[op.inputs[1]], graph[op.output]
    graph.constant(op.inputs[1])
    if x.dtype != "int8" or w.dtype != "int8" or y.dtype != "int8":
        raise op.fail(f"needs int8 input, weights and output, got {x.dtype}, {w.dtype}, {y.dtype}")
    if w.quant is None or w.quant.zero_point != 0:
        raise op.fail(f"weights {op.inputs[1]!r} must be symmetric (zero point 0)")
    if len(w.quant.scale) not in (1, channels) or (len(w.quant.scale) > 1 and w.quant.axis != channel_axis):
        raise op.fail(f"weights {op.inputs[1]!r} need 1 or {channels} scales along axis {channel_axis}")
    if len(op.inputs) == 3:
        bias = graph[op.inputs[2]]
        if bias.dtype != "int32" or bias.size != channels or bias.data is None:
            raise op.fail(f"bias {op.inputs[2]!r} must be a constant of {channels} int32 values")


@dataclass(frozen=True, kw_only=True)
class Conv2d(Op):
    """y = clamp(requantize(sum (x - x_zero) * w + bias) + y_zero). inputs: x (1,H,W,C), w (O,KH,KW,C/groups), [bias (O,)]."""

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    activation: Activation = "none"

    def check(self, graph: Graph) -> None:
        x, w, y = (graph[n] for n in (*self.inputs[:2], self.output))
        if len(x.shape) != 4 or len(w.shape) != 4 or len(y.shape) != 4:
            raise self.fail(f"needs 4-D input, weights and output, got {x.shape}, {w.shape}, {y.shape}")
        check_convolution(self, graph, channel_axis=0, channels=w.shape[0])
        if min(*self.stride, *self.dilation) < 1 or min(self.pads) < 0:
            raise self.fail(
                f"stride {self.stride}, dilation {self.dilation} must be positive, pads {self.pads} not negative"
            )
        if x.shape[3] % w.shape[3] or w.shape[0] % (x.shape[3] // w.shape[3]):
            raise self.fail(f"{x.shape[3]} input channels do not split into groups for weights {w.shape}")
        want = (
            x.shape[0],
            output_size(x.shape[1], w.shape[1], self.stride[0], self.dilation[0], *self.pads[:2]),
            output_size(x.shape[2], w.shape[2], self.stride[1], self.dilation[1], *self.pads[2:]),
            w.shape[0],
        )
        if y.shape != want:
            raise self.fail(f"output is {y.shape}, but input {x.shape} and weights {w.shape} give {want}")

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        x, w = args[0], args[1]
        tx, tw, ty = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        groups = tx.shape[3] // tw.shape[3]
        per_group = tw.shape[0] // groups
        acc = np.zeros((x.shape[0], *ty.shape), np.int64)
        patches = windows(x, tw.shape[1:3], self.stride, self.dilation, self.pads, ty.shape[1:3], tx.zero_point)
        for i, j, patch in patches:
            centred = patch.astype(np.int64) - tx.zero_point
            for g in range(groups):
                o, c = slice(g * per_group, (g + 1) * per_group), slice(g * tw.shape[3], (g + 1) * tw.shape[3])
                acc[..., o] += integer_matmul(centred[..., c], w[o, i, j, :].T)
        if len(args) == 3:
            acc += args[2].reshape(-1)
        multiplier, shift = per_channel_requant(tx, tw, ty, tw.shape[0])
        return (clamp_int8(requantize(acc, multiplier, shift) + ty.zero_point, *clamp_range(self.activation, ty)),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, w, y = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        multiplier, shift = per_channel_requant(x, w, y, w.shape[0])
        low, high = clamp_range(self.activation, y)
        params = {
            "x_h": x.shape[1], "x_w": x.shape[2], "x_c": x.shape[3],
            "k_h": w.shape[1], "k_w": w.shape[2], "k_c": w.shape[3],
            "y_h": y.shape[1], "y_w": y.shape[2], "y_c": y.shape[3],
            "stride_h": self.stride[0], "stride_w": self.stride[1],
            "dilation_h": self.dilation[0], "dilation_w": self.dilation[1],
            "pad_top": self.pads[0], "pad_left": self.pads[2],
            "x_zero": x.zero_point, "y_zero": y.zero_point, "clamp_min": low, "clamp_max": high,
            "w": Const(self.inputs[1]),
            "bias": Const(self.inputs[2]) if len(self.inputs) == 3 else None,
            "multiplier": multiplier, "shift": shift.astype(np.int8),
        }  # fmt: skip
        return (Kernel("conv2d_s8", params, self.inputs[:1], self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        x, w, y = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        padding = tflite_padding(x.shape[1:3], y.shape[1:3], w.shape[1:3], self.stride, self.dilation, self.pads)
        nodes: list[TfliteNode] = []
        source = self.inputs[0]
        if padding is None:
            source = f"{self.output}/padded"
            nodes.append(explicit_pad(self.inputs[0], source, x, self.pads))
        attributes = {
            "padding": padding or "VALID",
            "strideH": self.stride[0], "strideW": self.stride[1],
            "dilationHFactor": self.dilation[0], "dilationWFactor": self.dilation[1],
            "fusedActivationFunction": TFLITE_ACTIVATION[self.activation],
        }  # fmt: skip
        bias = self.inputs[2] if len(self.inputs) == 3 else None
        nodes.append(
            TfliteNode("CONV_2D", (source, self.inputs[1], bias), self.outputs, "Conv2DOptions", attributes, version=3)
        )
        return tuple(nodes)

    def macs(self, graph: Graph) -> int:
        return graph[self.output].size * math.prod(graph[self.inputs[1]].shape[1:])


def explicit_pad(source: str, target: str, x: Tensor, pads: Pads) -> TfliteNode:
    """A PAD node (it fills with the zero point) for pads that TFLite's SAME and VALID can not express."""
    top, bottom, left, right = pads
    widths = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    shape = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
    temps = {target: Tensor(shape, "int8", x.quant)}
    return TfliteNode("PAD", (source, widths), (target,), "PadOptions", {}, version=2, temps=temps)
