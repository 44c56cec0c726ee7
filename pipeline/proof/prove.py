"""Before a folder is delivered: the generated code and the .tflite file answer as the integer reference does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.artifacts import Int8Model
from pipeline.codegen import tflm
from pipeline.errors import MismatchError
from pipeline.evidence import Proof
from pipeline.ir import Array, Graph
from pipeline.lowering.lower import Lowered
from pipeline.proof import tflm as oracle
from pipeline.proof.host_c import HostC
from pipeline.proof.source_tflite import prove_source
from pipeline.proof.vectors import Vectors

RANDOM_VECTORS = 16


Report = Callable[[str], None]
"""Called with what happens next, in a few words."""


def prove(
    model: Int8Model, tflite: bytes, vectors: Vectors, library: Path, lowered: Lowered, report: Report = lambda _what: None
) -> Proof:
    """Replay `vectors` through the user's own file where there is one, the generated C and TFLM; MismatchError, for the
    user's file GraphError, naming the first layer that differs."""
    graph, source = model.graph, model.proof
    if model.source is not None:
        source = prove_source(model.source, graph, vectors)
    with HostC(graph, library, model.preprocess) as host:
        if not _equal(vectors.outputs, host.run(*vectors.inputs)):
            found = oracle.first_difference(graph, vectors.int8_inputs, host.layers(*vectors.inputs))
            raise MismatchError(f"{_difference(graph, 'the generated C', found)} Nothing is kept.")
    report("comparing with TFLM")
    n, by_tflm = len(vectors), prove_tflm(graph, tflite, vectors)
    if by_tflm is None:
        note = "an estimate: TFLM could not run on the machine that generated this"
        return Proof(n, n, None, tflm.arena_estimate(lowered), note, source)
    note = "the smallest that works, found by bisection with TFLM on a 64-bit host; a 32-bit core needs no more"
    return Proof(n, n, by_tflm, oracle.smallest_arena(tflite), note, source)


def prove_tflm(graph: Graph, tflite: bytes, vectors: Vectors) -> int | None:
    """How many vectors TFLM answers with the reference's bytes: all, or MismatchError; None where TFLM can not run."""
    if not oracle.tflm_available():
        return None
    if not _equal(vectors.outputs, oracle.tflm_run(tflite, *vectors.int8_inputs)):
        found = oracle.first_difference(graph, vectors.int8_inputs, oracle.tflm_layers(tflite, *vectors.int8_inputs))
        raise MismatchError(_difference(graph, "TFLM on the .tflite file", found))
    return len(vectors)


def _equal(expected: tuple[Array, ...], got: tuple[Array, ...]) -> bool:
    return all(np.array_equal(a, b.reshape(a.shape)) for a, b in zip(expected, got, strict=True))


def _difference(graph: Graph, who: str, found: oracle.Difference | None) -> str:
    where = str(found) if found else "its layers are equal when traced, so only the untraced program differs"
    return f"{who} does not answer as the integer reference of {graph.name!r} does: {where}."
