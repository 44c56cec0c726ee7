"""The user's own file as oracle: what was read from it must be what it computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.codegen.vectors import random
from pipeline.errors import GraphError
from pipeline.importers import tflite_builtins
from pipeline.importers.tflite import import_tflite
from pipeline.importers.tflite_node import Node
from pipeline.ir import Op
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.logistic import Logistic
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.passes import optimize
from pipeline.proof import source_tflite
from pipeline.proof.source_tflite import SourceProof, prove_source

FILES = Path(__file__).resolve().parent.parent / "importers" / "files"
COMPUTED = [
    "cnn_int8",
    "cnn_per_tensor",
    "cnn_float_edges",
    "cnn_uint8_edges",
    "two_in_two_out",
    "two_in_two_out_float_edges",
]


def proven(content: bytes, n: int = 6) -> SourceProof:
    imported = import_tflite(content, "model")
    graph = optimize(imported.graph)
    return prove_source(content, graph, random(graph, n, imported.preprocess))


@pytest.mark.parametrize("name", COMPUTED)
def test_files_of_a_converter_give_the_references_answers(name: str) -> None:
    assert proven((FILES / f"{name}.tflite").read_bytes()) == SourceProof("tflm", 6)


def misread(monkeypatch: pytest.MonkeyPatch, builtin: str, change: Callable[[Op], Op]) -> None:
    """The importer makes another operator of `builtin` than the file says."""
    right = tflite_builtins.BUILTINS[builtin]

    def wrong(n: Node) -> tuple[Op, ...]:
        return tuple(change(op) for op in right(n))

    monkeypatch.setitem(tflite_builtins.BUILTINS, builtin, wrong)


def as_average(op: Op) -> Op:
    assert isinstance(op, MaxPool2d)
    fields = {name: getattr(op, name) for name in ("inputs", "outputs", "kernel", "stride", "pads", "activation")}
    return AveragePool2d(**fields)


@pytest.mark.parametrize("available", [True, False], ids=["tflm", "litert"])
def test_what_the_importer_misreads_is_refused_with_the_layer(monkeypatch: pytest.MonkeyPatch, available: bool) -> None:
    content = (FILES / "cnn_int8.tflite").read_bytes()
    misread(monkeypatch, "MAX_POOL_2D", as_average)
    monkeypatch.setattr(source_tflite, "tflm_available", lambda: available)
    who = "TensorFlow Lite Micro" if available else "LiteRT's reference kernels"
    layer = r"layer \d+ \(average_pool2d '[^']+'\) is the first"
    with pytest.raises(GraphError, match=f"computes something else in {who} .* {layer}"):
        proven(content)


def test_where_tflm_is_not_litert_is_asked_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_tflite, "tflm_available", lambda: False)
    proof = proven((FILES / "cnn_int8.tflite").read_bytes())
    assert (proof.by, proof.vectors) == ("litert", 6)
    assert "TensorFlow Lite Micro can not run the file: its wheel is for Linux x86-64" in proof.note


def test_a_file_that_ends_the_interpreters_process_is_a_message() -> None:
    imported = import_tflite((FILES / "cnn_int8.tflite").read_bytes(), "model")
    x = random(imported.graph, 1).int8_inputs
    with pytest.raises(source_tflite._Refused, match=r"\w"):
        source_tflite._run("tflm", b"\x1c\x00\x00\x00TFL3" + bytes(200), x)
    assert source_tflite._reason(-11, "loading\n") == "loading, it ended the process with signal 11"
    assert source_tflite._reason(1, "") == "it said nothing"


def test_bytes_that_a_uint8_input_never_gives_are_no_difference() -> None:
    """A uint8 input of another scale reaches some int8 values only; the file is asked with those."""
    imported = import_tflite((FILES / "cnn_uint8_edges.tflite").read_bytes(), "model")
    q = np.arange(-128, 128, dtype=np.int8)
    edge = imported.inputs[0]
    given = source_tflite._as_file_takes(edge, q)
    table = edge.table().astype(int)
    assert all(abs(int(table[b]) - int(v)) == np.abs(table - int(v)).min() for b, v in zip(given, q, strict=True))


def test_a_dilation_by_batches_is_litert_s_to_answer() -> None:
    proof = proven((FILES / "padded.tflite").read_bytes())
    assert (proof.by, proof.max_lsb, proof.note) == ("litert", 0, source_tflite.BATCHED_SPACES)


def test_a_file_that_no_reference_kernels_run_is_held_against_the_optimised_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    content = (FILES / "zoo.tflite").read_bytes()
    proof = proven(content)
    assert (proof.by, proof.vectors) == ("litert_optimised", 6)
    assert proof.max_lsb <= 1
    assert "TensorFlow Lite Micro can not run the file" in proof.note
    assert "TILE" in proof.note
    misread(monkeypatch, "TANH", lambda op: Logistic(inputs=op.inputs, outputs=op.outputs))
    with pytest.raises(GraphError, match="logistic"):
        proven(content)


@pytest.mark.parametrize("name", ["dilated_conv2d", "dilated_depthwise"])
def test_where_tflm_is_known_to_be_wrong_litert_answers(shared: Path, name: str) -> None:
    content = (shared / "field" / "files" / f"{name}.tflite").read_bytes()
    proof = proven(content)
    assert proof.by == "litert"
    assert "SPACE_TO_BATCH_ND" in proof.note
