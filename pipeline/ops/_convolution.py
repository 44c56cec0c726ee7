"""What the operators with weights (convolutions, fully connected) share: requantisation constants and conditions."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.fixedpoint import INT32_MAX, quantize_multiplier
from pipeline.ir import Array, Const, Graph, Op, Tensor
from pipeline.ops._activation import Activation, clamp_range


def per_channel_requant(x: Tensor, w: Tensor, y: Tensor, channels: int) -> tuple[Array, Array]:
    """(multiplier, shift), int32, one entry per output channel.

    Source: PopulateConvolutionQuantizationParams in TFLite's kernel_util.cc: the scales are multiplied as doubles.
    """
    assert w.quant is not None  # checked by the operator
    pairs = [quantize_multiplier(x.scale * s / y.scale) for s in w.quant.scale]
    scale = channels // len(pairs)
    return np.array([m for m, _ in pairs] * scale, np.int32), np.array([s for _, s in pairs] * scale, np.int32)


def weight_params(
    op: Op, graph: Graph, requant: tuple[Array, Array], activation: Activation, bias: str | None
) -> dict[str, Any]:
    """The kernel parameters that every operator with weights has."""
    multiplier, shift = requant
    quant = graph[op.inputs[1]].quant
    per_channel = quant is not None and len(quant.scale) > 1
    stored = slice(None) if per_channel else slice(1)
    low, high = clamp_range(activation, graph[op.output])
    return {
        "x_zero": graph[op.inputs[0]].zero_point,
        "y_zero": graph[op.output].zero_point,
        "clamp_min": low,
        "clamp_max": high,
        "w": Const(op.inputs[1]),
        "bias": Const(bias) if bias else None,
        "per_channel": int(per_channel),
        "multiplier": multiplier[stored],
        "shift": shift[stored].astype(np.int8),
    }


def check_weights(op: Op, graph: Graph, channel_axis: int, channels: int, bias: str | None) -> None:
    """Symmetric constant int8 weights with 1 or `channels` scales along `channel_axis`, and a fitting int32 bias."""
    name = op.inputs[1]
    w = graph[name]
    values = graph.constant(name)
    if w.dtype != "int8":
        raise op.fail(f"weights {name!r} are {w.dtype}; only int8 is supported")
    if w.quant is None or w.quant.zero_point != 0:
        raise op.fail(f"weights {name!r} must be symmetric (a scale, zero point 0)")
    if len(w.quant.scale) not in (1, channels) or (len(w.quant.scale) > 1 and w.quant.axis != channel_axis):
        raise op.fail(f"weights {name!r} need 1 or {channels} scales along axis {channel_axis}")
    per_channel = np.moveaxis(values, channel_axis, 0).reshape(channels, -1)
    reach = 255 * int(np.abs(per_channel.astype(np.int16)).sum(axis=1, dtype=np.int64).max())
    if bias is not None:
        b = graph[bias]
        if b.dtype != "int32" or b.size != channels or b.data is None:
            raise op.fail(f"bias {bias!r} must be a constant of {channels} int32 values")
        reach += int(np.abs(b.data.astype(np.int64)).max())
    if reach > INT32_MAX:
        raise op.fail("weights and bias are so large that the 32-bit accumulator can overflow")
    per_channel_requant(graph[op.inputs[0]], w, graph[op.output], channels)
