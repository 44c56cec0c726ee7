"""The ONNX importer on what onnxruntime's quantize_static writes, against onnxruntime itself."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx_cases import NETS, Net, export, inputs_for, quantized
from onnxruntime.quantization import QuantType

from pipeline.codegen.to_tflite import to_tflite
from pipeline.data.checkpoint import load_checkpoint
from pipeline.data.models.resnet8 import build
from pipeline.importers.imported import Imported
from pipeline.importers.layout import channels_last
from pipeline.importers.onnx.importer import import_onnx
from pipeline.ir import Array
from pipeline.proof.tflm import tflm_available, tflm_run


def onnx_run(path: Path, inputs: list[Array]) -> list[Array]:
    """onnxruntime computing literally what the file says, example by example."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    rows = [session.run(None, {n: x[k : k + 1] for n, x in zip(names, inputs, strict=True)}) for k in range(len(inputs[0]))]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def stored(x: Array, shape: tuple[int, ...]) -> Array:
    """(n, C, H, W) as (n, *shape), the graph's layout."""
    if x.shape[1:] == shape[1:]:
        return x[:, None]
    return x.transpose(channels_last(x.ndim))[:, None]


def compare(model: Imported, path: Path, net: Net) -> None:
    graph = model.graph
    x = inputs_for(net, 24, seed=9)
    ours = [e.to_int8(stored(v, graph[n].shape)) for e, v, n in zip(model.inputs, x, graph.inputs, strict=True)]
    answers = graph.run(*ours)
    for y, edge, name, want in zip(answers, model.outputs, graph.outputs, onnx_run(path, x), strict=True):
        error = np.abs(edge.from_int8(y) - stored(want, graph[name].shape)) / graph[name].scale
        assert error.max() <= net.lsb + 1e-3
        assert error.mean() < 0.5
    kinds = [op.kind for op in graph.ops]
    assert kinds.count("transpose") == net.moves
    if tflm_available():
        for y, want in zip(answers, tflm_run(to_tflite(graph), *ours), strict=True):
            np.testing.assert_array_equal(y, want)


@pytest.mark.parametrize("name", NETS)
def test_quantize_static(name: str, tmp_path: Path) -> None:
    path = quantized(NETS[name], tmp_path)
    compare(import_onnx(path), path, NETS[name])


FORMS: dict[str, dict[str, Any]] = {
    "uint8 activations": {"activations": QuantType.QUInt8},
    "per tensor": {"per_channel": False},
    "uint8 activations, per tensor": {"activations": QuantType.QUInt8, "per_channel": False},
    "symmetric activations": {"extra_options": {"ActivationSymmetric": True}},
    "onnxruntime's own domain": {"extra_options": {"UseQDQContribOps": True}},
    "weights kept in float before their quantisation": {"extra_options": {"AddQDQPairToWeight": True}},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["plain", "residual"])
def test_forms(name: str, form: str, tmp_path: Path) -> None:
    path = quantized(NETS[name], tmp_path, **FORMS[form])
    compare(import_onnx(path), path, NETS[name])


def test_float_model_with_calibration(tmp_path: Path) -> None:
    """As quantize_static gives it when called by hand with the same samples."""
    net = NETS["plain"]
    path = export(net, tmp_path / "net.onnx")
    np.savez(tmp_path / "samples.npz", x=inputs_for(net, 32, seed=1)[0].transpose(0, 2, 3, 1))
    model = import_onnx(path, tmp_path / "samples.npz")
    by_hand = import_onnx(quantized(net, tmp_path))
    assert model.graph.name == "net"
    assert model.graph.sha256() == by_hand.graph.sha256()
    assert [op.kind for op in model.graph.ops] == [
        "conv2d", "depthwise_conv2d", "conv2d", "max_pool2d", "reshape", "fully_connected", "softmax",
    ]  # fmt: skip


def test_edges(tmp_path: Path) -> None:
    model = import_onnx(quantized(NETS["two_inputs"], tmp_path))
    assert [e.name for e in model.inputs] == ["x0", "x1"]
    assert {e.dtype for e in (*model.inputs, *model.outputs)} == {"float32"}
    assert [model.graph[n].shape for n in model.graph.inputs] == [(1, 6, 6, 2), (1, 5)]
    assert [model.graph[n].shape for n in model.graph.outputs] == [(1, 4), (1, 4, 4, 3)]


@pytest.mark.unmeasured
def test_resnet8(shared: Path, tmp_path: Path) -> None:
    """MLPerf's float resnet8 from torch, calibrated on CIFAR-10: 86.0 % in float on 2,000 images, of which these are 500."""
    torch_model = build((3, 32, 32), 10).eval()
    load_checkpoint(torch_model, shared / "models" / "pretrained" / "mlperf_resnet8_float.npz")
    path = tmp_path / "resnet8.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(torch_model, (torch.zeros(1, 3, 32, 32),), str(path), dynamo=False, opset_version=17)
    model = import_onnx(path, shared / "data" / "cifar10.npz")
    assert not any(op.kind == "transpose" for op in model.graph.ops)
    with np.load(shared / "data" / "cifar10.npz") as data:
        x, y = data["x_test"][:500], data["y_test"].reshape(-1)[:500]
    (answers,) = model.graph.run(model.inputs[0].to_int8(x[:, None].astype(np.float32)))
    assert (answers.reshape(len(y), -1).argmax(axis=1) == y).mean() >= 0.85
