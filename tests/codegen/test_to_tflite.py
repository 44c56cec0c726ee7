"""The .tflite file: what is in it, and that TFLM and LiteRT both take it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from example_graphs import random_inputs, small_cnn, strided, two_inputs

from pipeline.codegen.to_tflite import BUFFER_ALIGNMENT, to_tflite
from pipeline.ir import Graph
from pipeline.proof.tflm import tflm_available, tflm_run

GRAPHS = {g.name: g for g in (small_cnn(), two_inputs(), strided())}


def parsed(graph: Graph) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(to_tflite(graph), 0))


@pytest.mark.parametrize("name", GRAPHS)
def test_tflm_answers_as_the_reference(name: str) -> None:
    if not tflm_available():
        pytest.skip("the tflite-micro wheel is for Linux x86-64")
    graph = GRAPHS[name]
    x = random_inputs(graph, 20)
    for expected, got in zip(graph.run(*x), tflm_run(to_tflite(graph), *x), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", GRAPHS)
def test_litert_loads_and_nearly_agrees(name: str) -> None:
    graph = GRAPHS[name]
    x = random_inputs(graph, 5)
    interpreter = Interpreter(model_content=to_tflite(graph))
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    assert [d["name"] for d in inputs] == list(graph.inputs)
    expected = graph.run(*x)
    for k in range(5):
        for details, values in zip(inputs, x, strict=True):
            interpreter.set_tensor(details["index"], values[k])
        interpreter.invoke()
        for i, details in enumerate(outputs):
            got = interpreter.get_tensor(details["index"]).astype(int)
            assert np.abs(got - expected[i][k]).max() <= 2  # LiteRT's kernels round once where TFLM's round twice


def test_file_layout() -> None:
    content = to_tflite(small_cnn())
    assert content[4:8] == b"TFL3"
    assert content == to_tflite(small_cnn()), "the same graph gives the same bytes"
    model = parsed(small_cnn())
    assert model.version == 3
    assert model.signatureDefs is None
    assert len(model.subgraphs) == 1
    assert model.buffers[0].data is None
    assert all(t.buffer > 0 for t in model.subgraphs[0].tensors)


def test_buffers_are_aligned() -> None:
    content = to_tflite(small_cnn())
    root = schema.Model.GetRootAs(content, 0)
    starts = []
    for i in range(root.BuffersLength()):
        buffer = root.Buffers(i)
        if not buffer.DataIsNone():
            at = buffer._tab.Vector(buffer._tab.Offset(4))
            assert bytes(content[at : at + buffer.DataLength()]) == buffer.DataAsNumpy().tobytes()
            starts.append(at)
    assert len(starts) >= 8
    assert all(at % BUFFER_ALIGNMENT == 0 for at in starts)


def test_operator_codes_are_there_once() -> None:
    model = parsed(small_cnn())
    codes = [(c.builtinCode, c.version) for c in model.operatorCodes]
    assert len(codes) == len(set(codes)) == 7
    assert len(model.subgraphs[0].operators) == 8
    for code in model.operatorCodes:
        assert code.deprecatedBuiltinCode == min(code.builtinCode, 127)


def test_quantisation_parameters() -> None:
    graph = small_cnn()
    tensors = {t.name.decode(): t for t in parsed(graph).subgraphs[0].tensors}
    weight, bias = tensors["dw.w"].quantization, tensors["dw.b"].quantization
    assert weight.quantizedDimension == 3
    assert graph["dw.w"].quant is not None
    np.testing.assert_array_equal(weight.scale, np.float32(graph["dw.w"].quant.scale))
    assert weight.zeroPoint.tolist() == [0] * 8
    np.testing.assert_allclose(bias.scale, weight.scale * np.float32(graph["stem"].scale), rtol=1e-6)
    assert bias.quantizedDimension == 0
    image = tensors["image"].quantization
    assert (image.scale.tolist(), image.zeroPoint.tolist()) == ([1 / 16], [-128])


def test_a_convolution_without_bias_gets_zeros_which_litert_demands() -> None:
    subgraph = parsed(strided()).subgraphs[0]
    assert [c.builtinCode for c in (parsed(strided()).operatorCodes[o.opcodeIndex] for o in subgraph.operators)] == [
        schema.BuiltinOperator.PAD,
        schema.BuiltinOperator.CONV_2D,
    ]
    bias = subgraph.tensors[subgraph.operators[1].inputs[2]]
    assert bias.type == schema.TensorType.INT32
    assert not parsed(strided()).buffers[bias.buffer].data.any()
