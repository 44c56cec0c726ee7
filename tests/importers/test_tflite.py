"""The .tflite importer on official files, on what TensorFlow's converter writes, and on legal variations of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from pipeline.codegen.to_tflite import to_tflite
from pipeline.importers.imported import Imported
from pipeline.importers.tflite.importer import import_tflite, load_tflite
from pipeline.ir import Array
from pipeline.passes import optimize
from pipeline.proof.tflm import tflm_available, tflm_run
from tests.importers.tflite_edit import FILES, append_tensor, edited, file, operand, operator

needs_tflm = pytest.mark.skipif(not tflm_available(), reason="the tflite-micro wheel is not installed")
MLPERF = ("resnet8", "ds_cnn", "mobilenet_v1_025", "fc_autoencoder")
INT8_FILES = (
    "cnn_int8", "cnn_float_edges", "cnn_uint8_edges", "cnn_per_tensor", "two_in_two_out", "two_in_two_out_float_edges",
    "reshape_open_batch",
)  # fmt: skip


def random_inputs(model: Imported, n: int = 12) -> tuple[Array, ...]:
    """Values as the file itself takes them, the extremes among them."""
    rng = np.random.default_rng(3)

    def values(i: int) -> Array:
        shape, edge = model.graph[model.graph.inputs[i]].shape, model.inputs[i]
        if edge.dtype == "float32":
            return rng.normal(0.2, 1.5, (n, *shape)).astype(np.float32)
        x = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        x[:2] = np.array([0, 255], np.uint8).reshape(2, *(1,) * len(shape))
        return x.view(edge.dtype)

    return tuple(values(i) for i in range(len(model.inputs)))


def as_the_file(model: Imported, *inputs: Array) -> tuple[Array, ...]:
    """The integer reference, in the dtypes of the file's own inputs and outputs."""
    outputs = model.graph.run(*(e.to_int8(x) for e, x in zip(model.inputs, inputs, strict=True)))
    return tuple(e.from_int8(y) for e, y in zip(model.outputs, outputs, strict=True))


@pytest.mark.parametrize("name", MLPERF)
def test_mlperf_tiny_vectors(shared: Path, name: str) -> None:
    folder = shared / "models" / "mlperf_tiny" / name
    graph = load_tflite(folder / f"{name}_int8.tflite")
    assert graph.name == f"{name}_int8"
    shape = graph[graph.inputs[0]].shape
    x = np.stack([np.fromfile(folder / f"input_{i}.bin", np.int8).reshape(shape) for i in range(9)])
    expected = np.stack([np.fromfile(folder / f"output_{i}.bin", np.int8) for i in range(9)])
    (y,) = graph.run(x)
    np.testing.assert_array_equal(y.reshape(9, -1), expected)

    assert load_tflite(to_tflite(graph), graph.name).sha256() == graph.sha256()


@pytest.mark.parametrize("name", MLPERF)
def test_mlperf_tiny_exported_again(shared: Path, name: str) -> None:
    """Neither TFLM nor LiteRT, whose kernels differ from TFLM's, sees a difference from the official file."""
    official = (shared / "models" / "mlperf_tiny" / name / f"{name}_int8.tflite").read_bytes()
    model = import_tflite(official)
    (x,) = random_inputs(model)
    for graph in (model.graph, optimize(model.graph)):
        exported = to_tflite(graph)
        np.testing.assert_array_equal(litert(exported, x), litert(official, x))
        if tflm_available():
            np.testing.assert_array_equal(tflm_run(exported, x)[0], tflm_run(official, x)[0])


@needs_tflm
@pytest.mark.parametrize("name", INT8_FILES)
def test_converter_output_equals_tflm(name: str) -> None:
    model = import_tflite(FILES / f"{name}.tflite")
    inputs = random_inputs(model)
    ours = as_the_file(model, *inputs)
    for y, expected in zip(ours, tflm_run(file(name), *inputs), strict=True):
        assert len(np.unique(expected)) > 3
        np.testing.assert_array_equal(y, expected)
    again = import_tflite(to_tflite(model.graph), model.graph.name).graph
    ints = tuple(e.to_int8(x) for e, x in zip(model.inputs, inputs, strict=True))
    for y, expected in zip(again.run(*ints), model.graph.run(*ints), strict=True):
        np.testing.assert_array_equal(y, expected)


def litert(content: bytes, x: Array, kernels: OpResolverType = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES) -> Array:
    """LiteRT's own kernels, without XNNPACK, on one int8 input."""
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    answers = []
    for example in x:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], example)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.stack(answers)


BEYOND_TFLM = {
    # SPACE_TO_BATCH_ND with an open batch: the file says a batch of 1 where there are 4 images. TFLM believes that and
    # answers wrongly; LiteRT reckons shapes anew.
    "padded": ["conv2d", "conv2d", "average_pool2d"],
    # TILE, which TFLM lacks
    "zoo": [
        "split", "logistic", "tanh", "leaky_relu", "mul", "prelu", "sub", "maximum", "minimum", "concatenation",
        "transpose_conv", "hard_swish", "strided_slice", "resize_nearest_neighbor", "reshape", "concatenation", "reshape",
        "transpose", "pad", "conv2d", "reshape",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", BEYOND_TFLM)
def test_converter_output_that_tflm_can_not_run(name: str) -> None:
    model = import_tflite(FILES / f"{name}.tflite")
    assert [op.kind for op in model.graph.ops] == BEYOND_TFLM[name]
    (x,) = random_inputs(model)
    (y,) = model.graph.run(x)
    np.testing.assert_array_equal(litert(file(name), x), y)
    if tflm_available():
        np.testing.assert_array_equal(tflm_run(to_tflite(model.graph), x)[0], y)


def test_edges_are_described() -> None:
    floats, bytes_ = import_tflite(file("cnn_float_edges")), import_tflite(file("cnn_uint8_edges"))
    assert [e.dtype for e in (*floats.inputs, *floats.outputs)] == ["float32", "float32"]
    assert [e.dtype for e in (*bytes_.inputs, *bytes_.outputs)] == ["uint8", "uint8"]
    x = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(bytes_.inputs[0].to_int8(x), (x.astype(int) - 128).astype(np.int8))
    preprocess = bytes_.inputs[0].preprocess()
    assert preprocess is not None
    assert preprocess.is_offset
    assert floats.inputs[0].preprocess() is None
    np.testing.assert_array_equal(bytes_.outputs[0].from_int8(x.view(np.int8)), (x.view(np.int8).astype(int) + 128))
    y = floats.outputs[0].from_int8(np.array([-128, 127], np.int8))
    np.testing.assert_array_equal(y, np.array([0, 255 / 256], np.float32))
    for model in (floats, bytes_):
        assert model.graph[model.graph.inputs[0]].dtype == "int8"


def drop_options(m: Any) -> None:
    """ADD's options say nothing that is not the default."""
    op = operator(m, "ADD")
    op.builtinOptionsType, op.builtinOptions = 0, None


def only_old_codes(m: Any) -> None:
    for code in m.operatorCodes:
        code.builtinCode = 0


def only_new_codes(m: Any) -> None:
    for code in m.operatorCodes:
        code.deprecatedBuiltinCode = 0


def other_versions(m: Any) -> None:
    for code in m.operatorCodes:
        code.version = 1


def one_zero_point_per_channel(m: Any) -> None:
    operand(m, "CONV_2D", 1).quantization.zeroPoint = np.zeros(1, np.int64)


def same_names(m: Any) -> None:
    for t in m.subgraphs[0].tensors:
        t.name = "x"


def no_names(m: Any) -> None:
    for t in m.subgraphs[0].tensors:
        t.name = None


def hostile_names(m: Any) -> None:
    for i, t in enumerate(m.subgraphs[0].tensors):
        t.name = f'*/ "{i}" \\ \n system("ls") \x00 ü' + "y" * 5000


def unused_tensors(m: Any) -> None:
    tensor = m.subgraphs[0].tensors[append_tensor(m, operand(m, "CONV_2D", 0), "nobody")]
    tensor.type, tensor.quantization = schema.TensorType.STRING, None


def reshape_by_option(m: Any) -> None:
    op = operator(m, "RESHAPE")
    op.inputs = op.inputs[:1]
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT()
    op.builtinOptions.newShape = operand(m, "RESHAPE", -1).shape


def reshape_by_neither(m: Any) -> None:
    operator(m, "RESHAPE").inputs = operator(m, "RESHAPE").inputs[:1]


def no_bias(m: Any) -> None:
    conv, dense = operator(m, "CONV_2D"), operator(m, "FULLY_CONNECTED")
    conv.inputs, dense.inputs = [*conv.inputs[:2], -1], dense.inputs[:2]


def shared_buffers(m: Any) -> None:
    """Equal constants in one buffer, as the converter's own deduplication leaves them."""
    first: dict[bytes, int] = {}
    for t in m.subgraphs[0].tensors:
        data = m.buffers[t.buffer].data
        if data is not None:
            t.buffer = first.setdefault(bytes(data), t.buffer)


VARIATIONS = {
    "no options table": ("two_in_two_out", drop_options),
    "only 8-bit builtin codes": ("cnn_int8", only_old_codes),
    "only 32-bit builtin codes": ("cnn_int8", only_new_codes),
    "other operator versions": ("cnn_int8", other_versions),
    "one zero point for all channels": ("cnn_int8", one_zero_point_per_channel),
    "tensors with one name": ("cnn_int8", same_names),
    "tensors without names": ("cnn_int8", no_names),
    "tensors with hostile names": ("cnn_int8", hostile_names),
    "unused tensors": ("cnn_int8", unused_tensors),
    "reshape by option": ("reshape_open_batch", reshape_by_option),
    "reshape by neither": ("reshape_open_batch", reshape_by_neither),
    "no bias": ("cnn_int8", no_bias),
    "shared buffers": ("cnn_int8", shared_buffers),
}


@pytest.mark.parametrize("case", VARIATIONS)
def test_legal_variation(case: str) -> None:
    """Imports, and computes what the unchanged file does (or, where the change is one of values, what TFLM does)."""
    name, edit = VARIATIONS[case]
    content = edited(file(name), edit)
    model = import_tflite(content)
    inputs = random_inputs(model, n=4)
    unchanged = case != "no bias"
    if not unchanged and not tflm_available():
        pytest.skip("the tflite-micro wheel is not installed")
    expected = as_the_file(import_tflite(file(name)), *inputs) if unchanged else tflm_run(content, *inputs)
    for y, want in zip(as_the_file(model, *inputs), expected, strict=True):
        np.testing.assert_array_equal(y, want)
    for tensor in model.graph.tensors:
        assert len(tensor) <= 200
        assert all(c.isalnum() or c in "_./:;#-" for c in tensor)
    assert import_tflite(to_tflite(model.graph)).graph.outputs == model.graph.outputs


def test_constants_are_views_of_the_file() -> None:
    graph = load_tflite(file("cnn_int8"))
    constants = [t.data for t in graph.tensors.values() if t.data is not None]
    assert constants
    assert all(not data.flags.writeable and not data.flags.owndata for data in constants)
