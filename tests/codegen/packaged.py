"""What firmware is written from in tests: a graph alone."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evidence import SourceProof
from pipeline.ir import Graph
from pipeline.preprocess import Normalization, Preprocess, byte_tables


@dataclass(frozen=True)
class Model:
    """What firmware is generated from, without a data set."""

    graph: Graph
    preprocess: Preprocess | None
    source: bytes | None = None
    proof: SourceProof | None = None


def model_of(graph: Graph, raw: bool = False) -> Model:
    quant = graph[graph.inputs[0]].quant
    assert quant is not None
    preprocess = byte_tables(Normalization((8.0,), (5.0,)), "uint8", quant, 1) if raw else None
    return Model(graph, preprocess)
