"""Remove channels that are provably constant or never read, bit for bit.

A channel may go when, for everything that reads it, either its weights are all zero or its value is constant (see
`intervals`) and can be folded into the reader's bias. Channels are tied into groups: a depthwise convolution, an addition or
a pool keeps its input's channels, so the tensors around it lose the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.ir import Array, Graph, Op, Quant, Tensor
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.mean import Mean
from pipeline.ops.reshape import Reshape
from pipeline.passes.intervals import Interval, channel_intervals, touches_padding

FEWEST = 2
"""Channels that always stay: a tensor needs one, and some versions of TFLM round the multiplier of a dense layer with a
single weight scale in another way than those of one with several (see ops/fully_connected.py)."""


def eliminate_dead_channels(graph: Graph) -> Graph:
    """A graph with the same outputs for every input, and fewer channels where it can be proven."""
    while (smaller := _eliminate_once(graph)) is not graph:
        graph = smaller
    return graph


@dataclass(eq=False)
class _Group:
    """Tensors that share one set of channels, and the operators that read them with weights of their own."""

    channels: int
    tensors: set[str] = field(default_factory=set)
    readers: list[tuple[Conv2d | FullyConnected, str]] = field(default_factory=list)
    pinned: bool = False


def _eliminate_once(graph: Graph) -> Graph:
    intervals = channel_intervals(graph)
    keep: dict[str, Array] = {}  # tensor -> indexes of the channels that stay
    for group in _groups(graph):
        if group.pinned:
            continue
        dead = np.ones(group.channels, bool)
        for op, name in group.readers:
            dead &= _not_needed(op, graph, intervals[name], group.channels)
        alive = np.flatnonzero(~dead)
        if len(alive) < FEWEST:
            dead[np.flatnonzero(dead)[: FEWEST - len(alive)]] = False
        if dead.any():
            keep.update(dict.fromkeys(group.tensors, np.flatnonzero(~dead)))
    return _sliced(graph, keep, intervals) if keep else graph


def _groups(graph: Graph) -> list[_Group]:
    group_of: dict[str, _Group] = {}

    def group(name: str) -> _Group:
        if name not in group_of:
            shape = graph[name].shape
            group_of[name] = _Group(shape[-1] if shape else 1, {name})
        return group_of[name]

    def tie(a: str, b: str) -> None:
        left, right = group(a), group(b)
        if left is right:
            return
        left.tensors |= right.tensors
        left.readers += right.readers
        left.pinned |= right.pinned or left.channels != right.channels
        for name in right.tensors:
            group_of[name] = left

    for name in (*graph.inputs, *graph.outputs):
        group(name).pinned = True
    for op in graph.ops:
        x, y = op.inputs[0], op.output
        if isinstance(op, Conv2d | FullyConnected) and _plain(op, graph):
            group(x).readers.append((op, x))
            group(y)
        elif (isinstance(op, DepthwiseConv2d) and graph[x].shape[-1] == graph[y].shape[-1]) or _keeps_channels(op, graph):
            tie(x, y)
        elif op.monotonic(graph) and all(graph[n].shape == graph[y].shape for n in op.inputs):
            for name in op.inputs:
                if graph[name].data is not None:
                    group(y).pinned = True
                else:
                    tie(name, y)
        elif isinstance(op, AveragePool2d | MaxPool2d):
            tie(x, y)
        else:
            for name in (*op.inputs, *op.outputs):
                if graph[name].data is None:
                    group(name).pinned = True
    # `tie` replaces objects: the flags set on a tensor's first group moved along with it.
    return list({id(g): g for g in group_of.values()}.values())


def _plain(op: Conv2d | FullyConnected, graph: Graph) -> bool:
    """The weights' last axis runs over all of the input's channels."""
    return graph[op.inputs[0]].shape[-1:] == graph[op.inputs[1]].shape[-1:]


def _keeps_channels(op: Op, graph: Graph) -> bool:
    """A mean over space, or a reshape that only drops or adds axes of size one: the last axis stays the channel."""
    x, y = graph[op.inputs[0]].shape, graph[op.output].shape
    return (isinstance(op, Mean) and op.monotonic(graph)) or (isinstance(op, Reshape) and x[-1:] == y[-1:] != ())


def _not_needed(op: Conv2d | FullyConnected, graph: Graph, x: Interval, channels: int) -> Array:
    """Per input channel: every weight is zero, or its constant value can go into the bias."""
    weights = graph.constant(op.inputs[1]).reshape(-1, channels)
    unused = ~weights.any(axis=0)
    constant = x[0] == x[1]
    if isinstance(op, Conv2d) and touches_padding(op, graph):
        constant = constant & (x[0] == graph[op.inputs[0]].zero_point)  # else its value depends on the position
    if np.abs(weights.astype(np.int64)).sum() * 255 >= 2**30:
        constant = np.zeros_like(constant)  # never overflow the int32 bias that takes the constants in
    return np.asarray(unused | constant)


def _sliced(graph: Graph, keep: dict[str, Array], intervals: dict[str, Interval]) -> Graph:
    tensors: dict[str, Tensor] = {}
    for name, index in keep.items():
        tensors[name] = replace(graph[name], shape=(*graph[name].shape[:-1], len(index)))
    ops = []
    for op in graph.ops:
        if isinstance(op, Conv2d | FullyConnected | DepthwiseConv2d):
            new_op, constants = _slice_weights(op, graph, keep, intervals)
            ops.append(new_op)
            tensors.update(constants)
        else:
            ops.append(op)
    return graph.with_ops(ops, tensors)


def _slice_weights(
    op: Conv2d | FullyConnected | DepthwiseConv2d, graph: Graph, keep: dict[str, Array], intervals: dict[str, Interval]
) -> tuple[Op, dict[str, Tensor]]:
    x_keep, y_keep = keep.get(op.inputs[0]), keep.get(op.output)
    if x_keep is None and y_keep is None:
        return op, {}
    x, w = graph[op.inputs[0]], graph[op.inputs[1]]
    assert w.quant is not None  # checked by the operator
    weights = graph.constant(op.inputs[1])
    out_axis = 3 if isinstance(op, DepthwiseConv2d) else 0
    outputs = weights.shape[out_axis]
    bias = graph.constant(op.inputs[2]).reshape(-1).astype(np.int64) if len(op.inputs) == 3 else np.zeros(outputs, np.int64)
    if isinstance(op, Conv2d | FullyConnected) and x_keep is not None:
        low, high = intervals[op.inputs[0]]
        gone = np.setdiff1d(np.flatnonzero(low == high), x_keep)  # the others have no weights
        values = low[gone] - x.zero_point
        bias = bias + (weights[..., gone].astype(np.int64) * values).sum(axis=tuple(range(1, weights.ndim)))
        weights = weights[..., x_keep]
    scales = w.quant.scale
    if y_keep is not None:
        weights = np.take(weights, y_keep, axis=out_axis)
        bias = bias[y_keep]
        scales = tuple(np.array(scales)[y_keep]) if len(scales) > 1 else scales
    w_quant = Quant(scales, 0, w.quant.axis)
    bias_quant = Quant(tuple(x.scale * s for s in scales), 0, 0 if len(scales) > 1 else None)
    w_name, bias_name = f"{op.output}/weights", f"{op.output}/bias"
    return replace(op, inputs=(op.inputs[0], w_name, bias_name)), {
        w_name: Tensor(weights.shape, "int8", w_quant, np.ascontiguousarray(weights)),
        bias_name: Tensor(bias.shape, "int32", bias_quant, bias.astype(np.int32)),
    }
