"""The .onnx files: valid, fused completely by ONNX Runtime, raw values taken exactly, float beside int8."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from example_graphs import activation, random_inputs, small_cnn, two_inputs, weights

from pipeline.codegen.onnx.to_onnx import IR_VERSION, OPSET, Raw, module_to_onnx, save, to_onnx
from pipeline.errors import GraphError, MismatchError
from pipeline.importers.tflite.importer import load_tflite
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.ops._unary import Unary
from pipeline.preprocess import Normalization, Preprocess, byte_tables
from pipeline.proof import onnxruntime as agreement_module
from pipeline.proof.onnxruntime import agreement, run_onnx, session


def optimized(model: onnx.ModelProto, folder: Path) -> list[str]:
    """The operators that ONNX Runtime is left with."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(save(model), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def test_file_is_valid_and_says_what_it_is() -> None:
    graph = small_cnn()
    model = to_onnx(graph, classes=tuple("0123456789"))
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version, len(model.opset_import)) == (IR_VERSION, OPSET, 1)
    shaped = {v.name for v in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} <= shaped
    props = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert props["classes"] == list("0123456789")
    assert props["graph_sha256"] == graph.sha256()
    (x,), (y,) = props["inputs"], props["outputs"]
    assert (x["dtype"], x["zero_point"], y["zero_point"]) == ("uint8", graph[graph.inputs[0]].zero_point + 128, 0)
    assert save(model) == save(to_onnx(graph, classes=tuple("0123456789")))


def test_weights_are_int8_per_channel_and_biases_int32() -> None:
    model = to_onnx(small_cnn())
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            of = node.name.rsplit("/", 1)[0]
            channels = constants[f"{of}/weights"].shape[0]
            assert constants[f"{of}/weights"].dtype == np.int8
            assert constants[f"{of}/weights/scale"].shape == ((channels,) if node.op_type == "Conv" else ())
            assert constants[f"{of}/bias"].dtype == np.int32


def test_onnxruntime_fuses_everything(tmp_path: Path) -> None:
    left = optimized(to_onnx(small_cnn()), tmp_path)
    assert set(left) <= {"QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool", "Reshape", "QGemm", "QLinearSoftmax"}, left


def test_agreement_is_measured_layer_by_layer() -> None:
    graph = small_cnn()
    found = agreement(graph, *random_inputs(graph, 40)).checked()
    assert [layer.tensor for layer in found.layers] == [op.output for op in graph.ops]
    assert found.end_to_end.differences.values == 40 * graph[graph.outputs[0]].size
    assert found.end_to_end.differences.max_lsb <= 3
    assert found.end_to_end.top1 is not None
    assert found.end_to_end.top1 >= 0.95


def test_several_inputs_outputs_and_odd_names() -> None:
    graph = two_inputs()
    inputs = random_inputs(graph, 20)
    found = agreement(graph, *inputs).checked()
    assert found.end_to_end.differences.values == sum(20 * graph[n].size for n in graph.outputs)
    assert found.end_to_end.top1 is None
    with pytest.raises(GraphError, match="has 2 inputs"):
        to_onnx(graph, Raw(None, Normalization()))


def test_a_wrong_layer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = small_cnn()

    def wrong(alone: Graph) -> onnx.ModelProto:
        model = to_onnx(alone)
        for t in model.graph.initializer:
            if t.name == "pw/bias":
                t.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(t) + np.int32(3000), t.name))
        return model

    monkeypatch.setattr(agreement_module, "to_onnx", wrong)
    with pytest.raises(MismatchError, match=r"conv2d 'pw' by \d+ LSB \(allowed 1\)"):
        agreement(graph, *random_inputs(graph, 40)).checked()


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_raw_bytes_give_the_very_input(dtype: str, per_channel: bool) -> None:
    graph = small_cnn()
    x = graph[graph.inputs[0]]
    normalization = Normalization((3.5,), (11.0,)) if per_channel else Normalization((8.0,), (16.0,))
    preprocess = byte_tables(normalization, dtype, x.quant, x.shape[3])  # type: ignore[arg-type]
    raw = np.random.default_rng(4).integers(0, 256, (20, *x.shape)).astype(np.uint8).view(dtype)
    s = session(save(to_onnx(graph, Raw(preprocess, normalization))))
    got = np.stack([s.run(None, {graph.inputs[0]: v})[0] for v in raw])
    want = run_onnx(graph, preprocess.apply(raw))[0]
    np.testing.assert_array_equal((got.astype(np.int16) - 128).astype(np.int8), want)


def test_offset_bytes_need_no_node() -> None:
    graph = small_cnn()
    same = Preprocess("uint8", (np.arange(256) - 128).astype(np.int8)[None])
    ops = [n.op_type for n in to_onnx(graph).graph.node]
    assert [n.op_type for n in to_onnx(graph, Raw(same, Normalization())).graph.node] == ops


def test_per_channel_tables_are_looked_up_channel_by_channel() -> None:
    grey, rng = small_cnn(), np.random.default_rng(4)
    color = {"image": activation(1, 8, 8, 3, scale=1 / 16, zero=-128), "stem.w": weights(rng, 8, 3, 3, 3)}
    graph = replace(grey, tensors={**grey.tensors, **color}).checked()
    x = graph[graph.inputs[0]]
    normalization = Normalization((120.0, 60.0, 10.0), (60.0, 70.0, 80.0))
    assert x.quant is not None
    preprocess = byte_tables(normalization, "uint8", x.quant, 3)
    raw = np.random.default_rng(5).integers(0, 256, (4, *x.shape)).astype(np.uint8)
    s = session(save(to_onnx(graph, Raw(preprocess, normalization))))
    got = np.stack([s.run(None, {graph.inputs[0]: v})[0] for v in raw]).astype(np.int16) - 128
    np.testing.assert_array_equal(got, run_onnx(graph, preprocess.apply(raw))[0])


def test_raw_floats_are_normalized_inside() -> None:
    graph = small_cnn()
    x, normalization = graph[graph.inputs[0]], Normalization((2.0,), (3.0,))
    raw = np.random.default_rng(6).normal(20, 15, x.shape).astype(np.float32)
    s = session(save(to_onnx(graph, Raw(None, normalization))))
    (y,) = s.run(None, {graph.inputs[0]: raw})
    from pipeline.fixedpoint import quantize

    want = run_onnx(graph, quantize(normalization.apply(raw), x.scale, x.zero_point)[None])[0][0]
    np.testing.assert_array_equal(y.astype(np.int16) - 128, want)


def renamed_output(graph: Graph, name: str) -> Graph:
    old, last = graph.outputs[0], graph.ops[-1]
    tensors = {name if n == old else n: t for n, t in graph.tensors.items()}
    return replace(graph, tensors=tensors, ops=(*graph.ops[:-1], replace(last, outputs=(name,))), outputs=(name,))


@pytest.mark.parametrize("output", ["probabilities", "4"])  # a bare nn.Sequential's layers are called by number
def test_torch_module_gets_the_same_raw_input(output: str) -> None:
    import torch
    from torch import nn

    graph = renamed_output(small_cnn(), output)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()
    normalization = Normalization((8.0,), (16.0,))
    preprocess = Preprocess("uint8", (np.arange(256) - 128).astype(np.int8)[None])
    model = module_to_onnx(module, graph, Raw(preprocess, normalization), ("a", "b"))
    raw = np.random.default_rng(7).integers(0, 256, (1, 8, 8, 1)).astype(np.uint8)
    (got,) = session(save(model)).run(None, {graph.inputs[0]: raw})
    with torch.no_grad():
        want = module(torch.from_numpy(normalization.apply(raw)).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(got, want, atol=1e-5)


@dataclass(frozen=True, kw_only=True)
class Unheard(Unary):
    """An operator that ONNX has no word for."""

    def apply(self, graph: Graph, x: Array) -> Array:
        return x

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        raise NotImplementedError


def test_an_operator_without_a_form_is_named() -> None:
    value = small_cnn()["image"]
    graph = Graph("g", {"x": value, "y": value}, (Unheard(inputs=("x",), outputs=("y",)),), ("x",), ("y",)).checked()
    with pytest.raises(GraphError, match=r"unheard 'y' has no ONNX form; operators with one: add, average_pool2d"):
        to_onnx(graph)


@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "mobilenet_v1_025", "fc_autoencoder"])
def test_mlperf_models(shared: Path, name: str, tmp_path: Path) -> None:
    folder = shared / "models/mlperf_tiny" / name
    graph = load_tflite(next(folder.glob("*.tflite")))
    x = graph[graph.inputs[0]]
    files = sorted(folder.glob("input_*.bin"))
    vectors = np.stack([np.fromfile(f, np.int8).reshape(x.shape) for f in files])
    found = agreement(graph, vectors, layer_vectors=4).checked()
    assert found.end_to_end.differences.equal >= 0.6
    left = set(optimized(to_onnx(graph), tmp_path))
    assert not left & {"Transpose", "QuantizeLinear", "DequantizeLinear", "Conv", "Gemm", "Add"}, left


@pytest.mark.slow
def test_resnet8_top1_on_cifar10(shared: Path) -> None:
    from pipeline.proof.tolerances import ONNXRUNTIME_TOP1

    graph = load_tflite(next((shared / "models/mlperf_tiny/resnet8").glob("*.tflite")))
    with np.load(shared / "data/cifar10.npz") as data:
        x, y = (data["x_test"].astype(np.int16) - 128).astype(np.int8)[:, None], data["y_test"]
    reference, got = (f(x)[0].reshape(len(y), -1).argmax(1) for f in (graph.run, lambda v: run_onnx(graph, v)))
    assert (reference == y).mean() == 0.8615
    assert abs((got == y).mean() - (reference == y).mean()) <= ONNXRUNTIME_TOP1
