"""The user's own file as oracle: what was read from it must be what it computes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import TensorType
from example_graphs import activation

from pipeline.codegen.to_tflite import to_tflite
from pipeline.errors import BuildError, GraphError
from pipeline.evidence import SourceProof
from pipeline.importers.tflite import builtins as tflite_builtins
from pipeline.importers.tflite.importer import import_tflite
from pipeline.importers.tflite.node import Node
from pipeline.ir import Graph, Op, Quant, Tensor
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.logistic import Logistic
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from pipeline.ops.slice import Slice
from pipeline.ops.softmax import Softmax
from pipeline.ops.split import Split
from pipeline.ops.strided_slice import StridedSlice
from pipeline.passes import optimize
from pipeline.proof import source_tflite
from pipeline.proof.source_tflite import prove_source
from pipeline.proof.vectors import golden, random
from tests.importers.tflite_edit import Edit, append_constant, edited, operator

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
    assert proven((FILES / f"{name}.tflite").read_bytes()) == SourceProof("tflm", 6, 6)


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


@pytest.mark.parametrize("name", ["cnn_int8", "cnn_float_edges", "cnn_uint8_edges"])
@pytest.mark.parametrize("available", [True, False], ids=["tflm", "litert"])
def test_what_the_importer_misreads_is_refused_with_the_layer(
    monkeypatch: pytest.MonkeyPatch, available: bool, name: str
) -> None:
    content = (FILES / f"{name}.tflite").read_bytes()
    misread(monkeypatch, "MAX_POOL_2D", as_average)
    monkeypatch.setattr(source_tflite, "tflm_available", lambda: available)
    who = "TensorFlow Lite Micro" if available else "LiteRT's reference kernels"
    layer = r"layer \d+ \(average_pool2d '[^']+'\) is the first"
    with pytest.raises(GraphError, match=f"computes something else in {who} .* {layer}"):
        proven(content)


def sliced(edit: Edit) -> bytes:
    """One row of three dropped, (1, 3, 4) to (1, 4), as a file that `edit` changes."""
    op = StridedSlice(inputs=("x",), outputs=("y",), begin=(0, 2, 0), end=(1, 3, 4), strides=(1, 1, 1), shrink=(1,))
    tensors = {"x": activation(1, 3, 4), "y": activation(1, 4)}
    return edited(to_tflite(Graph("sliced", tensors, (op,), ("x",), ("y",))), edit)


def test_an_open_begin_of_a_dropped_axis_is_its_first_index() -> None:
    def open_begin(m: Any) -> None:
        operator(m, "STRIDED_SLICE").builtinOptions.beginMask = 0b010

    content = sliced(open_begin)
    assert proven(content) == SourceProof("tflm", 6, 6)
    x = np.arange(12, dtype=np.int8).reshape(1, 1, 3, 4)
    np.testing.assert_array_equal(import_tflite(content, "model").graph.run(x)[0], [[[0, 1, 2, 3]]])
    np.testing.assert_array_equal(import_tflite(sliced(lambda _m: None), "model").graph.run(x)[0], [[[8, 9, 10, 11]]])


def test_a_begin_before_the_front_of_a_dropped_axis_is_its_first_index() -> None:
    def before(m: Any) -> None:
        operator(m, "STRIDED_SLICE").inputs[1] = append_constant(m, np.array([0, -5, 0], np.int32), "b", TensorType.INT32)

    assert proven(sliced(before)) == SourceProof("tflm", 6, 6)


def test_an_open_begin_in_shape_arithmetic() -> None:
    """Its begin would be outside of the shape that it is taken from."""

    def open_begin(m: Any) -> None:
        op = operator(m, "STRIDED_SLICE")
        op.inputs[1] = append_constant(m, np.array([9], np.int32), "b", TensorType.INT32)
        op.builtinOptions.beginMask = 1

    assert proven(edited((FILES / "cnn_int8.tflite").read_bytes(), open_begin)) == SourceProof("tflm", 6, 6)


def test_a_dropped_axis_has_no_way_back() -> None:
    def backwards(m: Any) -> None:
        operator(m, "STRIDED_SLICE").inputs[3] = append_constant(m, np.array([1, -1, 1], np.int32), "s", TensorType.INT32)

    with pytest.raises(GraphError, match="an axis that is dropped has the stride -1; it must be positive"):
        import_tflite(sliced(backwards), "model")


def test_a_slice_of_another_size_than_declared_is_refused() -> None:
    op = Slice(inputs=("x",), outputs=("y",), begin=(0, 1, 0))
    tensors = {"x": activation(1, 3, 4), "y": activation(1, 2, 4)}
    content = to_tflite(Graph("sliced", tensors, (op,), ("x",), ("y",)))
    assert proven(content) == SourceProof("tflm", 6, 6)

    def shorter(m: Any) -> None:
        operator(m, "SLICE").inputs[2] = append_constant(m, np.array([1, -1, 2], np.int32), "size", TensorType.INT32)

    with pytest.raises(GraphError, match=r"its size \[1, 2, 2\] contradicts the declared shape, which has \[1, 2, 4\]"):
        import_tflite(edited(content, shorter), "model")


def test_a_depth_multiplier_that_contradicts_the_shapes_is_refused() -> None:
    def doubled(m: Any) -> None:
        operator(m, "DEPTHWISE_CONV_2D").builtinOptions.depthMultiplier = 7

    with pytest.raises(
        GraphError, match=r"DEPTHWISE_CONV_2D .* depth multiplier 7 makes 56 channels of 8, but the declared output has 8"
    ):
        import_tflite(edited((FILES / "cnn_int8.tflite").read_bytes(), doubled), "model")


def test_parts_of_other_sizes_than_declared_are_refused() -> None:
    op = Split(inputs=("x",), outputs=("a", "b"), axis=1)
    tensors = {"x": activation(1, 5, 2), "a": activation(1, 3, 2), "b": activation(1, 2, 2)}
    content = to_tflite(Graph("cut", tensors, (op,), ("x",), ("a", "b")))

    def sizes(*values: int) -> Edit:
        def edit(m: Any) -> None:
            operator(m, "SPLIT_V").inputs[1] = append_constant(m, np.array(values, np.int32), "sizes", TensorType.INT32)

        return edit

    assert proven(edited(content, sizes(3, -1))) == SourceProof("tflm", 6, 6)
    with pytest.raises(GraphError, match=r"SPLIT_V .*its sizes \[2, 3\] contradicts the declared shape, which has \[3, 2\]"):
        import_tflite(edited(content, sizes(2, 3)), "model")


def test_a_resize_to_another_size_than_declared_is_refused() -> None:
    op = ResizeNearestNeighbor(inputs=("x",), outputs=("y",))
    tensors = {"x": activation(1, 2, 3, 1), "y": activation(1, 4, 6, 1)}
    content = to_tflite(Graph("grown", tensors, (op,), ("x",), ("y",)))
    assert proven(content) == SourceProof("tflm", 6, 6)

    def smaller(m: Any) -> None:
        size = append_constant(m, np.array([4, 3], np.int32), "size", TensorType.INT32)
        operator(m, "RESIZE_NEAREST_NEIGHBOR").inputs[1] = size

    with pytest.raises(GraphError, match=r"its size \[4, 3\] contradicts the declared shape, which has \[4, 6\]"):
        import_tflite(edited(content, smaller), "model")


def test_where_tflm_is_not_litert_is_asked_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_tflite, "tflm_available", lambda: False)
    proof = proven((FILES / "cnn_int8.tflite").read_bytes())
    assert (proof.by, proof.vectors) == ("litert", 6)
    assert "TensorFlow Lite Micro can not run the file: its wheel is for Linux x86-64" in proof.note


def test_a_file_that_ends_the_interpreters_process_is_asked_of_the_next() -> None:
    """The reference kernels abort when the sum of a softmax's row passes 512 times its largest term."""
    tensors = {"x": activation(1, 1000, scale=0.3), "y": Tensor((1, 1000), "int8", Quant((1 / 256,), -128))}
    op = Softmax(inputs=("x",), outputs=("y",))
    graph = Graph("flat", tensors, (op,), ("x",), ("y",))
    proof = prove_source(to_tflite(graph), graph, golden(graph, (np.zeros((1, 1, 1000), np.int8),)))
    assert (proof.by, proof.equal) == ("litert_optimised", 1)
    aborted = r"can not run the file: .*it ended the process with signal \d+"
    assert re.fullmatch(rf"TensorFlow Lite Micro {aborted}; LiteRT's reference kernels {aborted}", proof.note)


def test_a_fault_of_our_own_is_no_refusal_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a bug here would quietly hand each proof on to the next engine."""
    monkeypatch.setattr(source_tflite, "INPUTS", "misnamed.npz")
    with pytest.raises(BuildError, match=r"runs the model file failed: FileNotFoundError: .*inputs\.npz'\.$"):
        proven((FILES / "cnn_int8.tflite").read_bytes())


def test_inputs_and_outputs_are_the_files_in_its_own_order() -> None:
    """Keras lists them otherwise than its converter writes them."""
    content = (FILES / "two_in_two_out.tflite").read_bytes()
    graph = optimize(import_tflite(content, "model").graph)
    swapped = replace(graph, inputs=graph.inputs[::-1], outputs=graph.outputs[::-1])
    assert prove_source(content, swapped, random(swapped, 6)) == SourceProof("tflm", 6, 6)


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
    assert "Didn't find op for builtin opcode 'TILE'" in proof.note
    assert proof.equal == 6 or proof.max_lsb > 0
    misread(monkeypatch, "TANH", lambda op: Logistic(inputs=op.inputs, outputs=op.outputs))
    with pytest.raises(GraphError, match="logistic"):
        proven(content)


@pytest.mark.parametrize("name", ["dilated_conv2d", "dilated_depthwise"])
def test_where_tflm_is_known_to_be_wrong_litert_answers(shared: Path, name: str) -> None:
    content = (shared / "field" / "files" / f"{name}.tflite").read_bytes()
    proof = proven(content)
    assert proof.by == "litert"
    assert "SPACE_TO_BATCH_ND" in proof.note
