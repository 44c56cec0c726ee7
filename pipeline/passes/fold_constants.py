"""Compute at once what depends on constants only."""

from __future__ import annotations

from dataclasses import replace

from pipeline.ir import Array, Graph, Op, Tensor


def fold_constants(graph: Graph) -> Graph:
    known: dict[str, Array] = {}  # values of folded operators, with the leading axis of n examples: here one
    ops: list[Op] = []
    for op in graph.ops:
        if any(n not in known and graph[n].data is None for n in op.inputs):
            ops.append(op)
            continue
        args = [known[n] if n in known else graph.constant(n) for n in op.inputs]
        if op.inputs[0] not in known:
            args[0] = args[0][None]  # stands where an activation would
        known.update(zip(op.outputs, op.reference(graph, *args), strict=True))
    if not known:
        return graph
    folded: dict[str, Tensor] = {name: replace(graph[name], data=values[0]) for name, values in known.items()}
    return graph.with_ops(ops, folded)
