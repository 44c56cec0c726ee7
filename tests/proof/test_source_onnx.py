"""The user's own .onnx file as oracle: what was read from it must be what it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from onnx.external_data_helper import convert_model_to_external_data

from pipeline.compile import prove_imported
from pipeline.errors import GraphError, MismatchError
from pipeline.evidence import SourceProof
from pipeline.importers.onnx import nodes as onnx_nodes
from pipeline.importers.onnx.builder import OnnxBuilder
from pipeline.importers.onnx.file import OnnxNode
from pipeline.importers.onnx.importer import import_onnx
from pipeline.ops.pad import Pad
from pipeline.passes import optimize
from pipeline.proof import source_onnx

FILES = Path(__file__).resolve().parent.parent / "importers" / "files"
QDQ = sorted(path.stem for path in FILES.glob("*_qdq.onnx"))


def proven(path: Path, calibration: Path | None = None) -> SourceProof:
    model = import_onnx(path, calibration)
    proof = prove_imported(model, optimize(model.graph))
    assert proof is not None
    return proof


@pytest.mark.parametrize("name", QDQ)
def test_files_of_onnxruntime_give_the_references_values(name: str) -> None:
    proof = proven(FILES / f"{name}.onnx")
    assert (proof.by, proof.vectors) == ("onnxruntime", 16)
    assert proof.max_lsb <= 1
    assert (proof.equal == 16) == (proof.max_lsb == 0)
    assert proof.note == "each layer on the file's own values"


Node = Callable[[OnnxBuilder, OnnxNode], None]


def misread(monkeypatch: pytest.MonkeyPatch, op: str, change: Callable[[OnnxNode], OnnxNode]) -> None:
    """The importer makes of a node `op` what another would be."""
    right: Node = onnx_nodes.NODES[op]
    monkeypatch.setitem(onnx_nodes.NODES, op, lambda b, n: right(b, change(n)))


def with_attributes(**attributes: Any) -> Callable[[OnnxNode], OnnxNode]:
    return lambda n: replace(n, attributes={**n.attributes, **attributes})


MISREAD: dict[str, tuple[str, str, Callable[[OnnxNode], OnnxNode], str]] = {  # file, node, what it becomes, layer named
    "a stride's phase": ("grouped_dilated_qdq", "Conv", with_attributes(pads=[1, 1, 3, 3]), "conv2d"),
    "axes of equal size": ("channel_shuffle_qdq", "Transpose", with_attributes(perm=[0, 2, 1, 4, 3]), "reshape|transpose"),
    "order of operands": ("arithmetic_qdq", "Sub", lambda n: replace(n, inputs=n.inputs[::-1]), "sub"),
    "blocks of pixels": ("pixel_shuffle_qdq", "DepthToSpace", with_attributes(mode="DCR"), "reshape|transpose"),
    "another function": ("activations_qdq", "Elu", lambda n: replace(n, attributes={"alpha": 0.5}), "lookup"),
}


@pytest.mark.parametrize("name", MISREAD)
def test_what_the_importer_misreads_is_refused_with_the_layer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file, op, change, layer = MISREAD[name]
    misread(monkeypatch, op, change)
    with pytest.raises(GraphError, match=rf"something else in ONNX Runtime than was read from the file: ({layer}) '"):
        proven(FILES / f"{file}.onnx")


def test_transposed_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    right = OnnxBuilder.add_weights

    def transposed(b: OnnxBuilder, node: OnnxNode, w: np.ndarray, *more: Any) -> tuple[str, ...]:
        return right(b, node, w.transpose(0, 2, 1, 3) if w.ndim == 4 and w.shape[1] == w.shape[2] else w, *more)

    monkeypatch.setattr(OnnxBuilder, "add_weights", transposed)
    with pytest.raises(GraphError, match=r"conv2d '.* steps off, 1 allowed, the first that is too far"):
        proven(FILES / "plain_qdq.onnx")


def test_a_wrong_value_around_a_pad_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    right: Node = onnx_nodes.NODES["Pad"]

    def wrong(b: OnnxBuilder, n: OnnxNode) -> None:
        right(b, n)
        pad = b.ops[-1]
        assert isinstance(pad, Pad)
        assert pad.value is not None
        b.ops[-1] = replace(pad, value=pad.value - 1)

    monkeypatch.setitem(onnx_nodes.NODES, "Pad", wrong)
    with pytest.raises(GraphError, match=r"pad '.* is 1 steps off, 0 allowed"):
        proven(FILES / "padded_qdq.onnx")


def test_a_value_beyond_what_is_stored_is_refused(shared: Path) -> None:
    with pytest.raises(GraphError, match="27 steps off, 1 allowed"):
        proven(shared / "field" / "files" / "onnx_pad_value_out_of_range.onnx")


def test_a_wrong_quantisation_of_an_edge_is_refused() -> None:
    model = import_onnx(FILES / "dense_qdq.onnx")
    for side, kind in (("inputs", "input"), ("outputs", "fully_connected")):
        (edge,) = getattr(model, side)
        moved = replace(edge, quant=replace(edge.quant, zero_point=edge.quant.zero_point + 4))
        wrong = replace(model, **{side: (moved,)})
        if side == "outputs":
            graph, name = model.graph, model.graph.outputs[0]
            tensor = replace(graph[name], quant=moved.quant)
            wrong = replace(wrong, graph=graph.with_ops(graph.ops, {name: tensor}))
        with pytest.raises(GraphError, match=f"from the file: {kind} '"):
            prove_imported(wrong, optimize(wrong.graph))


def test_an_optimised_graph_that_computes_something_else_is_refused() -> None:
    model = import_onnx(FILES / "dense_qdq.onnx")
    other = import_onnx(FILES / "dense_qdq.onnx").graph
    op = other.ops[0]
    name = op.inputs[1]
    changed = replace(other[name], data=-other.constant(name))
    with pytest.raises(MismatchError, match="the graph as imported and the integer reference"):
        prove_imported(model, other.with_ops(other.ops, {name: changed}))


def test_weights_beside_the_file_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.load(FILES / "dense_qdq.onnx")
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    (tmp_path / "m").mkdir()
    onnx.save(model, tmp_path / "m" / "dense.onnx")
    monkeypatch.chdir(tmp_path)
    assert proven(Path("m") / "dense.onnx").max_lsb <= 1


def test_a_file_that_onnx_runtime_refuses_is_a_message(tmp_path: Path) -> None:
    model = onnx.load(FILES / "dense_qdq.onnx")
    model.opset_import[0].version = 99
    onnx.save(model, tmp_path / "new.onnx")
    message = r"ONNX Runtime can not run the file, so nobody can say what it computes: .*opset.*[^.]\. Export the model anew"
    with pytest.raises(GraphError, match=message):
        proven(tmp_path / "new.onnx")


def test_a_file_that_never_goes_back_to_real_numbers(tmp_path: Path) -> None:
    graph = parser.parse_graph(
        "g (float[1, 2, 4, 4] x) => (int8[1, 2, 2, 2] y) <float s = {0.05}, int8 z = {3}> "
        "{ q = QuantizeLinear (x, s, z) y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (q) }"
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "int8.onnx")
    proof = proven(tmp_path / "int8.onnx")
    assert (proof.vectors, proof.equal, proof.max_lsb) == (16, 16, 0)


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        pytest.param((1, 5), {"keepdims": 0}, id="everything"),
        pytest.param((1, 3, 4), {"keepdims": 1}, id="everything, kept"),
        pytest.param((1, 3, 4), {"noop_with_empty_axes": 1}, id="nothing"),
    ],
)
def test_a_mean_without_axes(shape: tuple[int, ...], attributes: dict[str, int], tmp_path: Path) -> None:
    graph = parser.parse_graph(
        f"g (float{list(shape)} x) => (float y) <float s = {{0.05}}, int8 z = {{3}}> {{ "
        "a = QuantizeLinear (x, s, z) b = DequantizeLinear (a, s, z) c = Relu (b) "
        "d = QuantizeLinear (c, s, z) e = DequantizeLinear (d, s, z) m = ReduceMean (e) "
        "f = QuantizeLinear (m, s, z) y = DequantizeLinear (f, s, z) }"
    )
    (mean,) = (n for n in graph.node if n.op_type == "ReduceMean")
    mean.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "mean.onnx")
    assert proven(tmp_path / "mean.onnx").max_lsb <= 1


def test_many_values_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = proven(FILES / "plain_qdq.onnx")
    monkeypatch.setattr(source_onnx, "_MOST_VALUES", 1)
    assert proven(FILES / "plain_qdq.onnx") == whole


# Of a float model, that one answers, too.


@pytest.fixture
def float_model(tmp_path: Path) -> tuple[Path, Path]:
    """A convolution and a mean, and samples that it is calibrated with."""
    rng = np.random.default_rng(2)
    weights = numpy_helper.from_array(rng.normal(0, 0.3, (6, 3, 3, 3)).astype(np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    sides = ([1, 3, 8, 8], [1, 6, 6, 6])
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("xy", sides, strict=True))
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], [weights]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    onnx.save(model, tmp_path / "float.onnx")
    np.savez(tmp_path / "samples.npz", x=rng.normal(0, 1, (40, 3, 8, 8)).astype(np.float32))
    return tmp_path / "float.onnx", tmp_path / "samples.npz"


def test_a_float_model_is_near_its_int8_form(float_model: tuple[Path, Path]) -> None:
    note = proven(*float_model).note
    assert "against the float model" in note
    assert float(note.split("; ")[1].split(" dB")[0]) > 30


def test_an_int8_form_of_another_model_is_refused(float_model: tuple[Path, Path]) -> None:
    """As when quantisation goes wrong: the int8 file is read rightly, but it is not the float model's."""
    path, samples = float_model
    model = import_onnx(path, samples)
    other = onnx.load(path)
    weights = numpy_helper.to_array(other.graph.initializer[0])
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(-weights, "w"))
    onnx.save(other, path)
    with pytest.raises(
        GraphError, match=r"output 'y' in int8 is not the float model's: on the calibration samples the error"
    ):
        prove_imported(model, optimize(model.graph))


def test_an_error_below_one_step_is_no_difference(float_model: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a softmax over a thousand classes: int8 gives zero for most, and can not come nearer."""
    model = import_onnx(*float_model)
    (edge,) = model.outputs
    for steps, refused in ((0.9, False), (1.1, True)):
        wanted = np.full((4, 6), steps * edge.quant.scale[0])
        answers = [(edge, wanted, np.zeros((4, 6)))]
        monkeypatch.setattr(source_onnx, "_float_answers", lambda _model, answers=answers: answers)
        if refused:
            with pytest.raises(GraphError, match="is not the float model's"):
                prove_imported(model, optimize(model.graph))
        else:
            proof = prove_imported(model, optimize(model.graph))
            assert proof is not None
            assert proof.note.endswith("0.0 dB signal to noise against the float model")
