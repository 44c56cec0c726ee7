"""Fuse a relu into the operator that feeds it, when both outputs are quantised alike: then both clamps are the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.ir import Graph, Op
from pipeline.ops._activation import Activation
from pipeline.ops.relu import Relu
from pipeline.ops.relu6 import Relu6

CLAMPS: dict[type[Op], Activation] = {Relu: "relu", Relu6: "relu6"}


def fuse_clamp(graph: Graph) -> Graph:
    producer = {name: op for op in graph.ops for name in op.outputs}
    readers: dict[str, int] = {}
    for name in (*(n for op in graph.ops for n in op.inputs), *graph.outputs):
        readers[name] = readers.get(name, 0) + 1
    fused: dict[str, Op] = {}  # by the output they replace
    dropped: set[Op] = set()
    for clamp in graph.ops:
        source = producer.get(clamp.inputs[0]) if type(clamp) in CLAMPS else None
        if source is None or readers[clamp.inputs[0]] != 1 or not _takes_activation(source):
            continue
        if graph[clamp.inputs[0]].quant != graph[clamp.output].quant:
            continue
        changes: dict[str, Any] = {"outputs": clamp.outputs, "activation": CLAMPS[type(clamp)]}
        fused[source.output] = replace(source, **changes)
        dropped.add(clamp)
    if not fused:
        return graph
    return graph.with_ops(fused.get(op.output, op) for op in graph.ops if op not in dropped)


def _takes_activation(op: Op) -> bool:
    return getattr(op, "activation", None) == "none"
