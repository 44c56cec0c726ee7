"""Interval arithmetic on the int8 graph: for every activation, the smallest and largest value each channel can ever take.

Requantisation never falls as its sum grows, as long as no left shift wraps, so the end points of a sum's interval map
exactly. Padding puts the zero point into a window. Operators that are neither weighted nor say that they are monotonic get
the whole int8 range, which is always true.
"""

from __future__ import annotations

import numpy as np

from pipeline.fixedpoint import clamp_int8, keeps_order, requantize
from pipeline.ir import Array, Graph, Op
from pipeline.ops._activation import clamp_range
from pipeline.ops._convolution import per_channel_requant
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.reshape import Reshape

Interval = tuple[Array, Array]
"""(low, high): int64 arrays with one entry per index of the tensor's last axis; low == high: the channel is constant."""


def channel_intervals(graph: Graph) -> dict[str, Interval]:
    """For each int8 activation of `graph`."""
    found = {name: whole_range(_channels(graph, name)) for name in graph.inputs}
    for op in graph.ops:
        intervals = _image(op, graph, found)
        for name in op.outputs:
            found[name] = intervals if intervals is not None else whole_range(_channels(graph, name))
    return found


def _channels(graph: Graph, name: str) -> int:
    """Entries of its interval: a tensor without axes has one value, so one."""
    return graph[name].shape[-1] if graph[name].shape else 1


def whole_range(channels: int) -> Interval:
    return np.full(channels, -128, np.int64), np.full(channels, 127, np.int64)


def touches_padding(op: Conv2d | DepthwiseConv2d, graph: Graph) -> bool:
    """True when some window reaches outside the image."""
    x, w, y = graph[op.inputs[0]], graph[op.inputs[1]], graph[op.output]

    def beyond(axis: int, before: int) -> bool:
        stride, dilation = op.stride[axis - 1], op.dilation[axis - 1]
        last = (y.shape[axis] - 1) * stride + (w.shape[axis] - 1) * dilation - before
        return before > 0 or last >= x.shape[axis]

    return beyond(1, op.pads[0]) or beyond(2, op.pads[2])


def _image(op: Op, graph: Graph, found: dict[str, Interval]) -> Interval | None:
    if isinstance(op, Conv2d | DepthwiseConv2d | FullyConnected):
        return _weighted(op, graph, found[op.inputs[0]])
    if isinstance(op, Reshape):
        return _reshaped(found[op.inputs[0]], _channels(graph, op.output))
    if op.monotonic(graph):
        ends = []
        for side in (0, 1):
            args = [_filled(graph, name, found[name][side]) if name in found else graph.constant(name) for name in op.inputs]
            (y,) = op.reference(graph, *args)
            flat = y.reshape(-1, y.shape[-1]).astype(np.int64)
            ends.append((flat.min(axis=0), flat.max(axis=0)))
        return ends[0][0], ends[1][1]
    return None


def _filled(graph: Graph, name: str, per_channel: Array) -> Array:
    return np.broadcast_to(per_channel, (1, *graph[name].shape)).astype(graph[name].dtype)


def _weighted(op: Conv2d | DepthwiseConv2d | FullyConnected, graph: Graph, x_range: Interval) -> Interval | None:
    x, w, y = graph[op.inputs[0]], graph[op.inputs[1]], graph[op.output]
    low, high = (side - x.zero_point for side in x_range)
    if not isinstance(op, FullyConnected) and touches_padding(op, graph):
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    weights = graph.constant(op.inputs[1]).astype(np.int64)
    if isinstance(op, DepthwiseConv2d):
        per_output = np.repeat(np.arange(x.shape[-1]), w.shape[-1] // x.shape[-1])
        products = weights * low[per_output], weights * high[per_output]
        axes: tuple[int, ...] = (0, 1, 2)
    else:
        if weights.shape[-1] != len(low):  # grouped convolution, or a dense layer over a flattened batch
            return None
        products = weights * low, weights * high
        axes = tuple(range(1, weights.ndim))
    bias = graph.constant(op.inputs[2]).reshape(-1).astype(np.int64) if len(op.inputs) == 3 else np.int64(0)
    acc_low = np.minimum(*products).sum(axis=axes) + bias
    acc_high = np.maximum(*products).sum(axis=axes) + bias
    if acc_low.min() < -(2**31) or acc_high.max() >= 2**31:
        return None
    multiplier, shift = per_channel_requant(x, w, y, len(acc_low))
    if not keeps_order(acc_low, acc_high, shift):
        return None
    clamp = clamp_range(op.activation, y)
    low, high = (clamp_int8(requantize(a, multiplier, shift) + y.zero_point, *clamp) for a in (acc_low, acc_high))
    return low.astype(np.int64), high.astype(np.int64)


def _reshaped(x: Interval, channels: int) -> Interval | None:
    old = len(x[0])
    if channels % old == 0:
        return np.tile(x[0], channels // old), np.tile(x[1], channels // old)
    if old % channels == 0:
        return x[0].reshape(-1, channels).min(axis=0), x[1].reshape(-1, channels).max(axis=0)
    return None
