"""Drop operators that hand their input on unchanged, and let a reshape read through the reshapes before it."""

from __future__ import annotations

from dataclasses import replace

from pipeline.ir import Graph, Op
from pipeline.ops.pad import Pad
from pipeline.ops.quantize import Quantize
from pipeline.ops.reshape import Reshape


def drop_noops(graph: Graph) -> Graph:
    same: dict[str, str] = {}  # output of a dropped operator -> the tensor it equals
    reshaped: dict[str, str] = {}  # output of a reshape -> the tensor it views
    ops: list[Op] = []
    for op in graph.ops:
        op = replace(op, inputs=tuple(same.get(n, n) for n in op.inputs))
        if isinstance(op, Reshape):
            op = replace(op, inputs=(reshaped.get(op.inputs[0], op.inputs[0]),))
            reshaped[op.output] = op.inputs[0]
        if op.output not in graph.outputs and _is_noop(op, graph):
            same[op.output] = op.inputs[0]
        else:
            ops.append(op)
    return _without_unread(graph.with_ops(ops))


def _is_noop(op: Op, graph: Graph) -> bool:
    x, y = graph[op.inputs[0]], graph[op.output]
    if x.shape != y.shape or x.quant != y.quant or x.dtype != y.dtype:
        return False
    if isinstance(op, Pad):
        return not any(any(w) for w in op.widths)
    return isinstance(op, Reshape | Quantize)


def _without_unread(graph: Graph) -> Graph:
    """The graph without operators whose outputs nobody reads, e.g. reshapes that were read through."""
    needed = set(graph.outputs)
    ops: list[Op] = []
    for op in reversed(graph.ops):
        if needed & set(op.outputs):
            ops.append(op)
            needed |= set(op.inputs)
    return graph.with_ops(reversed(ops))
