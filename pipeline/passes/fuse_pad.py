"""Fold a spatial PAD of zeros into the convolution that reads it: the padded copy is never made."""

from __future__ import annotations

from dataclasses import replace

from pipeline.ir import Graph, Op
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.pad import Pad


def fuse_pad(graph: Graph) -> Graph:
    pads = {op.output: op for op in graph.ops if isinstance(op, Pad) and _is_spatial_zero(op, graph)}
    if not pads:
        return graph
    ops: list[Op] = []
    for op in graph.ops:
        pad = pads.get(op.inputs[0]) if isinstance(op, Conv2d | DepthwiseConv2d) else None
        if pad is not None and isinstance(op, Conv2d | DepthwiseConv2d):
            _, (top, bottom), (left, right), _ = pad.widths
            grown = (op.pads[0] + top, op.pads[1] + bottom, op.pads[2] + left, op.pads[3] + right)
            ops.append(replace(op, inputs=(pad.inputs[0], *op.inputs[1:]), pads=grown))
        else:
            ops.append(op)
    read = {n for op in ops for n in op.inputs} | set(graph.outputs)
    return graph.with_ops(op for op in ops if op.output in read or op.output not in pads)


def _is_spatial_zero(pad: Pad, graph: Graph) -> bool:
    """Pads height and width only, with the zero point (real value 0), and leaves the quantisation as it is."""
    x, y = graph[pad.inputs[0]], graph[pad.output]
    spatial = len(pad.widths) == 4 and pad.widths[0] == pad.widths[3] == (0, 0)
    return spatial and x.quant == y.quant and pad.value in (None, x.zero_point)
