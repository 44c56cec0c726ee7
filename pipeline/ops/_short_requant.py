"""Requantisation in four instructions (`requant__dsp.h`): the layers where it gives exactly what TFLM's does."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.ir import Array, Graph
from pipeline.ops._convolution import Weighted

REACH = 2**30  # twice a smaller sum fits 32 bits, with room for what is added
RIGHT = 22  # shifts up to this leave room for the zero point


def sums_reach(w: Array, bias: Array | None, axis: int) -> Array:
    """How far from zero each output channel's sum can be, and each part of it, whatever the input and its zero point."""
    per_channel = np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1).astype(np.int64)
    reach: Array = 256 * np.abs(per_channel).sum(axis=1)
    return reach if bias is None else reach + np.abs(bias.reshape(-1).astype(np.int64))


def short_requant(multiplier: Array, shift: Array, reach: Array) -> tuple[Array, Array] | str:
    """Multipliers and shifts that give the same outputs with shifts to the right by 1 to RIGHT; else what speaks against it.

    `reach`, of each channel, or the largest where one multiplier is for all, is that of `sums_reach`.
    """
    if reach.max() >= REACH:
        return f"its sums can reach {reach.max():,}, and twice that needs more than 32 bits"
    nothing = (multiplier == 0) | (reach < 2.0 ** (-shift.astype(np.int64) - 1))  # every sum rounds to zero
    right = np.where(nothing, 1, -shift)
    if right.min() < 1:
        return "a channel's sums are scaled by a half or more"
    if right.max() > RIGHT:
        return f"a channel's sums are scaled by less than 2^-{RIGHT}"
    return np.where(nothing, 0, multiplier).astype(np.int32), (-right).astype(np.int8)


def short_weight_params(op: Weighted, graph: Graph) -> dict[str, Any] | str:
    """`op.weight_params` with such multipliers and shifts; or what speaks against it."""
    params = op.weight_params(graph)
    bias = graph.constant(op.bias) if op.bias else None
    reach = sums_reach(graph.constant(op.inputs[1]), bias, op.channel_axis)
    if not params["per_channel"]:
        reach = reach.max(keepdims=True)
    found = short_requant(params["multiplier"], params["shift"], reach)
    return found if isinstance(found, str) else {**params, "multiplier": found[0], "shift": found[1]}
