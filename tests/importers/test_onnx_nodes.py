"""ONNX nodes that torch's exporter does not write on demand, against onnxruntime; and constants computed beforehand, against
ONNX's own reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator
from onnx_cases import Net, quantize_file
from test_onnx import compare

from pipeline.errors import GraphError
from pipeline.importers.onnx.file import read_onnx
from pipeline.importers.onnx.importer import import_onnx
from pipeline.importers.onnx.shapes import FOLDABLE, fold
from pipeline.ir import Array

CONV = "c = Conv <pads = [1, 1, 1, 1]> (x, w)"
LONG = f"{CONV} f = Flatten (c) d = Concat <axis = 1> (f, f) y = Gather <axis = 1> (d, i)"  # of 1152 values


def long_gather(*indices: int) -> str:
    return f"i = Constant <value = int64[{len(indices)}] {{{', '.join(map(str, indices))}}}> () {LONG}"


GRAPHS: dict[str, tuple[str, int]] = {  # over x (1, 4, 8, 9) and w (8, 4, 3, 3); results; transpositions asked for
    "same_upper": ('y = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w)', 0),
    "same_lower": ('y = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (x, w)', 0),
    "valid": ('y = Conv <auto_pad = "VALID"> (x, w)', 0),
    "relu6": (
        f"{CONV} l = Constant <value = float {{0.0}}> () h = Constant <value = float {{6.0}}> () y = Clip (c, l, h)", 0,
    ),
    "clip": (
        f"{CONV} l = Constant <value = float {{-0.3}}> () h = Constant <value = float {{0.4}}> () y = Clip (c, l, h)", 0,
    ),
    "flatten all": (f"{CONV} y = Flatten <axis = 1> (c)", 1),
    "reshape with -1 and 0": (f"{CONV} s = Constant <value = int64[3] {{0, 8, -1}}> () y = Reshape (c, s)", 0),
    "squeeze": (f"{CONV} m = GlobalAveragePool (c) a = Constant <value = int64[2] {{2, 3}}> () y = Squeeze (m, a)", 0),
    "unsqueeze": (
        f"{CONV} m = GlobalMaxPool (c) f = Flatten (m) a = Constant <value = int64[1] {{2}}> () y = Unsqueeze (f, a)", 0,
    ),
    "depth_to_space CRD": (f'{CONV} y = DepthToSpace <blocksize = 2, mode = "CRD"> (c)', 2),
    "even split": (f"{CONV} a, b = Split <axis = 1, num_outputs = 2> (c) y = Sub (a, b)", 0),
    "slice backwards": (
        f"{CONV} s = Constant <value = int64[1] {{-1}}> () e = Constant <value = int64[1] {{-9}}> () a = Constant <value = "
        "int64[1] {2}> () t = Constant <value = int64[1] {-2}> () y = Slice (c, s, e, a, t)", 0,
    ),
    "gather one": (f"{CONV} i = Constant <value = int64 {{-2}}> () y = Gather <axis = 2> (c, i)", 0),
    "gather neighbours": (f"{CONV} i = Constant <value = int64[3] {{1, 2, 3}}> () y = Gather <axis = 1> (c, i)", 0),
    "gather many neighbours": (long_gather(*range(3, 1103)), 1),
    "pad some axes": (
        f"{CONV} p = Constant <value = int64[4] {{1, 0, 2, 1}}> () v = Constant <value = float {{-0.4}}> () a = Constant "
        "<value = int64[2] {2, 3}> () y = Pad (c, p, v, a)", 0,
    ),
    "resize by scales, floor": (
        f"{CONV} r = Constant <value = float[4] {{1.0, 1.0, 2.0, 3.0}}> () e = Constant <value = float[0] {{}}> () "
        'y = Resize <coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"> (c, e, r)', 0,
    ),
    "resize by sizes, half pixel": (
        f"{CONV} z = Constant <value = int64[4] {{1, 8, 16, 18}}> () y = Resize (c, , , z)", 0,
    ),
    "axes of a mean": (f"{CONV} a = Constant <value = int64[2] {{2, 3}}> () y = ReduceMean <keepdims = 0> (c, a)", 0),
    "division": (f"{CONV} d = Constant <value = float {{3.0}}> () y = Div (c, d)", 0),
    "power": (f"{CONV} d = Constant <value = float {{2.0}}> () y = Pow (c, d)", 0),
    "identity": (f"{CONV} i = Identity (c) y = Relu (i)", 0),
    "shape arithmetic": (
        f"{CONV} s = Shape (c) i = Constant <value = int64[1] {{1}}> () n = Gather (s, i) "
        "m = Constant <value = int64[1] {-1}> () o = Constant <value = int64[1] {1}> () "
        "t = Concat <axis = 0> (o, n, m) y = Reshape (c, t)", 0,
    ),
    "functions": (f"{CONV} a = Softplus (c) b = Mish (c) d = Softsign (c) e = Add (a, b) y = Mul (e, d)", 0),
}  # fmt: skip


REFUSED = {  # the same, and the message
    "gather": (
        f"{CONV} i = Constant <value = int64[2] {{2, 0}}> () y = Gather <axis = 1> (c, i)",
        "only one index, or neighbour",
    ),
    "gather whose last is elsewhere": (long_gather(*range(1099), 5), "only one index, or neighbour"),
    "gather more than there is": (
        f"{CONV} i = Constant <value = int64[9] {{0, 1, 2, 3, 4, 5, 6, 7, 7}}> () y = Gather <axis = 1> (c, i)",
        "int64 indices (9,) of 8: only one index, or neighbour",
    ),
    "linear": (
        f'{CONV} z = Constant <value = int64[4] {{1, 8, 16, 18}}> () y = Resize <mode = "linear"> (c, , , z)',
        "mode 'linear' of an input (1, 8, 8, 9): images by nearest neighbours only",
    ),
    "nearest": (
        f"{CONV} z = Constant <value = int64[4] {{1, 8, 11, 13}}> () "
        'y = Resize <nearest_mode = "ceil", coordinate_transformation_mode = "asymmetric"> (c, , , z)',
        "pick other pixels than any mode of TFLite's nearest neighbour",
    ),
    "reflect": (
        f'{CONV} p = Constant <value = int64[8] {{0, 0, 1, 1, 0, 0, 1, 1}}> () y = Pad <mode = "reflect"> (c, p)',
        "mode 'reflect' with pads [0, 0, 1, 1, 0, 0, 1, 1]: only constant padding has an int8 form",
    ),
    "pool": (
        f"{CONV} y = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (c)",
        "without dilation and without indices only",
    ),
    "attention": (
        f"{CONV} t = Transpose <perm = [0, 1, 3, 2]> (c) y = MatMul (c, t)",
        "multiplies two activations (attention)",
    ),
    "quotient": (f"{CONV} y = Div (c, c)", "must be a constant; values computed at run time are not supported"),
    "three": (f"{CONV} a = Relu (c) b = Sigmoid (c) y = Max (a, b, c)", "it has 3 operands; two are supported"),
}


def quantized_graph(body: str, net: Net, folder: Path) -> Path:
    text = f'<ir_version: 9, opset_import: ["" : 18]> g (float[1,4,8,9] x) => (y) {{ {body} }}'
    model = parser.parse_model(text)
    weights = np.random.default_rng(4).normal(0, 0.2, (8, 4, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, None))
    model = onnx.shape_inference.infer_shapes(model)
    model.graph.input[0].name = "x0"
    for node in model.graph.node:
        for i, given in enumerate(node.input):
            node.input[i] = "x0" if given == "x" else given
    onnx.save(model, folder / "float.onnx")
    return quantize_file(folder / "float.onnx", net, folder)


@pytest.mark.parametrize("name", GRAPHS)
def test_node(name: str, tmp_path: Path) -> None:
    body, moves = GRAPHS[name]
    net = Net(lambda: pytest.fail("not a torch net"), ((1, 4, 8, 9),), lsb=3, moves=moves)
    path = quantized_graph(body, net, tmp_path)
    compare(import_onnx(path), path, net)


@pytest.mark.parametrize("name", REFUSED)
def test_node_without_int8_form(name: str, tmp_path: Path) -> None:
    body, message = REFUSED[name]
    path = quantized_graph(body, Net(lambda: pytest.fail("not a torch net"), ((1, 4, 8, 9),)), tmp_path)
    with pytest.raises(GraphError) as e:
        import_onnx(path)
    assert message in str(e.value)


def constants(**arrays: Any) -> dict[str, Array]:
    return {name: np.asarray(values) for name, values in arrays.items()}


X = np.arange(24, dtype=np.int64).reshape(2, 3, 4)
FOLDED: dict[str, tuple[str, dict[str, Any], dict[str, Array]]] = {
    "Add": ("Add", {}, constants(a=X, b=X[0])),
    "Cast": ("Cast", {"to": 1}, constants(a=X)),
    "Ceil": ("Ceil", {}, constants(a=np.float32([1.2, -1.2]))),
    "Concat": ("Concat", {"axis": 1}, constants(a=X, b=X)),
    "Constant of ints": ("Constant", {"value_ints": [3, 4]}, {}),
    "Constant of a float": ("Constant", {"value_float": 1.5}, {}),
    "ConstantOfShape": ("ConstantOfShape", {"value": numpy_helper.from_array(np.int64([7]))}, constants(a=np.int64([2, 3]))),
    "Div": ("Div", {}, constants(a=np.int64([7, 9]), b=np.int64([2, 3]))),
    "Div of floats": ("Div", {}, constants(a=np.float32([7, 9]), b=np.float32([2, 4]))),
    "Flatten": ("Flatten", {"axis": 2}, constants(a=X)),
    "Floor": ("Floor", {}, constants(a=np.float32([1.2, -1.2]))),
    "Gather": ("Gather", {"axis": 1}, constants(a=X, b=np.int64([2, 0]))),
    "Identity": ("Identity", {}, constants(a=X)),
    "Mul": ("Mul", {}, constants(a=X, b=np.int64(3))),
    "Reshape": ("Reshape", {}, constants(a=X, b=np.int64([0, -1]))),
    "Slice": ("Slice", {}, constants(a=X, b=np.int64([0, 3]), c=np.int64([1, -9]), d=np.int64([0, 2]), e=np.int64([1, -2]))),
    "Squeeze": ("Squeeze", {}, constants(a=X[:1], b=np.int64([0]))),
    "Squeeze all": ("Squeeze", {}, constants(a=X[:1, :1])),
    "Sub": ("Sub", {}, constants(a=X, b=X[:1])),
    "Transpose": ("Transpose", {"perm": [2, 0, 1]}, constants(a=X)),
    "Unsqueeze": ("Unsqueeze", {}, constants(a=X, b=np.int64([0, 4]))),
}


def test_every_foldable_operator_is_tried() -> None:
    assert {op for op, _, _ in FOLDED.values()} == FOLDABLE.keys()


def model_of(op: str, attributes: dict[str, Any], names: list[str]) -> Any:
    inputs = [helper.make_tensor_value_info(n, 7, None) for n in names]
    output = helper.make_tensor_value_info("y", 7, None)
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **attributes)], "g", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize("case", FOLDED)
def test_folded_as_onnx_defines_it(case: str, tmp_path: Path) -> None:
    op, attributes, arrays = FOLDED[case]
    model = model_of(op, attributes, list(arrays))
    (expected,) = ReferenceEvaluator(model).run(None, arrays)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    found = fold(read_onnx(tmp_path / "model.onnx").nodes[0], list(arrays.values()))
    assert found is not None
    np.testing.assert_array_equal(found, expected)
    assert found.shape == np.shape(expected)


UNFOLDABLE = {
    "reshape": ("Reshape", {}, constants(a=X, b=np.int64([5, 5]))),
    "concat": ("Concat", {"axis": 7}, constants(a=X, b=X)),
    "gather": ("Gather", {"axis": 0}, constants(a=X, b=np.int64([9]))),
    "division by zero": ("Div", {}, constants(a=np.int64([7]), b=np.int64([0]))),
    "cast": ("Cast", {"to": 99}, constants(a=X)),
    "constant": ("Constant", {}, {}),
    "absurd": ("ConstantOfShape", {}, constants(a=np.int64([1 << 20, 1 << 20]))),
}


@pytest.mark.parametrize("case", UNFOLDABLE)
def test_constants_that_do_not_fit(case: str, tmp_path: Path) -> None:
    op, attributes, arrays = UNFOLDABLE[case]
    (tmp_path / "model.onnx").write_bytes(model_of(op, attributes, list(arrays)).SerializeToString())
    with pytest.raises(GraphError, match=rf"{op} '\w*': its constant operands do not fit together"):
        fold(read_onnx(tmp_path / "model.onnx").nodes[0], list(arrays.values()))
