"""Compute at once what depends on constants only."""

from __future__ import annotations

from dataclasses import replace

from pipeline.ir import Graph, Op, Tensor


def fold_constants(graph: Graph) -> Graph:
    known: dict[str, Tensor] = {}
    ops: list[Op] = []
    for op in graph.ops:
        if any(n not in known and graph[n].data is None for n in op.inputs) or set(op.outputs) & set(graph.outputs):
            ops.append(op)
            continue
        values = [known[n].data if n in known else graph.constant(n) for n in op.inputs]
        # The first input stands for the activation, which comes with a leading axis of n examples: here one.
        args = [v[None] if i == 0 else v for i, v in enumerate(values) if v is not None]
        for name, y in zip(op.outputs, op.reference(graph, *args), strict=True):
            known[name] = replace(graph[name], data=y[0])
    return graph.with_ops(ops, known) if known else graph
