"""Files whose operands or options say something else than the shapes that they declare, and slices that drop axes.

TFLM, LiteRT and this package would each follow another of the two: such a file is refused, and says which two disagree."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from pipeline.codegen.to_tflite import to_tflite
from pipeline.errors import GraphError
from pipeline.importers.tflite.importer import import_tflite, load_tflite
from pipeline.ir import Array, Graph, Op, Quant, Tensor
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.mean import Mean
from pipeline.ops.reshape import Reshape
from pipeline.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from pipeline.ops.slice import Slice
from pipeline.ops.split import Split
from pipeline.ops.strided_slice import StridedSlice
from pipeline.proof.tflm import tflm_available, tflm_run
from tests.importers.test_tflite import litert
from tests.importers.tflite_edit import append_constant, edited, file, operand, operator

needs_tflm = pytest.mark.skipif(not tflm_available(), reason="the tflite-micro wheel is not installed")
Edit = Callable[[Any], None]


def built(op: type[Op], x: tuple[int, ...], *ys: tuple[int, ...], **attributes: Any) -> bytes:
    quant = Quant((0.05,), -5)
    outputs = tuple(f"y{i}" for i in range(len(ys)))
    tensors = {"x": Tensor(x, "int8", quant)} | {n: Tensor(y, "int8", quant) for n, y in zip(outputs, ys, strict=True)}
    return to_tflite(Graph("model", tensors, (op(inputs=("x",), outputs=outputs, **attributes),), ("x",), outputs))


def dense(x: tuple[int, ...], y: tuple[int, ...]) -> bytes:
    """Four weights for each of three units."""
    tensors = {
        "x": Tensor(x, "int8", Quant((0.05,), -5)),
        "w": Tensor((3, 4), "int8", Quant((0.01,)), np.arange(12, dtype=np.int8).reshape(3, 4)),
        "y": Tensor(y, "int8", Quant((0.1,), 2)),
    }
    return to_tflite(Graph("model", tensors, (FullyConnected(inputs=("x", "w"), outputs=("y",)),), ("x",), ("y",)))


def constant(builtin: str, i: int, *values: int) -> Edit:
    """Other values in input i."""

    def edit(m: Any) -> None:
        operator(m, builtin).inputs[i] = append_constant(m, np.array(values, np.int32), "new", schema.TensorType.INT32)

    return edit


def option(builtin: str, name: str, value: Any) -> Edit:
    return lambda m: setattr(operator(m, builtin).builtinOptions, name, value)


def becomes(builtin: str, options: str, *axes: int, **attributes: Any) -> Edit:
    """The RESHAPE as another operator, which has the axes as its second input where there are some."""

    def edit(m: Any) -> None:
        op = operator(m, "RESHAPE")
        code = m.operatorCodes[op.opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, builtin)
        index = append_constant(m, np.array(axes, np.int32), "axes", schema.TensorType.INT32)
        op.inputs = [op.inputs[0], *([index] if axes else [])]
        op.builtinOptionsType, op.builtinOptions = getattr(schema.BuiltinOptions, options), getattr(schema, f"{options}T")()
        for name, value in attributes.items():
            setattr(op.builtinOptions, name, value)

    return edit


def new_shape_option(*shape: int) -> Edit:
    def edit(m: Any) -> None:
        op = operator(m, "RESHAPE")
        op.inputs, op.builtinOptions.newShape = op.inputs[:1], list(shape)

    return edit


def both(*edits: Edit) -> Edit:
    def edit(m: Any) -> None:
        for one in edits:
            one(m)

    return edit


def declared(builtin: str, *shape: int) -> Edit:
    def edit(m: Any) -> None:
        tensor = operand(m, builtin, -1)
        tensor.shape, tensor.shapeSignature = list(shape), None

    return edit


def no_zero_point(builtin: str, i: int) -> Edit:
    return lambda m: setattr(operand(m, builtin, i).quantization, "zeroPoint", None)


SLICE = built(Slice, (1, 6, 4), (1, 3, 4), begin=(0, 2, 0))
HALVES = built(Split, (1, 6, 4), (1, 3, 4), (1, 3, 4), axis=1)
UNEVEN = built(Split, (1, 6, 4), (1, 2, 4), (1, 4, 4), axis=1)
RESIZED = built(ResizeNearestNeighbor, (1, 4, 4, 2), (1, 8, 6, 2))
RESHAPED = built(Reshape, (1, 1, 4, 3), (1, 4, 3))
EXPANDED = built(Reshape, (1, 4, 3), (1, 4, 1, 3))
UNCHANGED = built(Reshape, (1, 4, 3), (1, 4, 3))
MEAN = built(Mean, (1, 4, 4, 3), (1, 3), axes=(1, 2))
STRIDED = built(StridedSlice, (1, 4, 3), (1, 3), begin=(0, 2, 0), end=(1, 3, 3), strides=(1, 1, 1), shrink=(1,))
ROWS, FLAT = dense((1, 2, 4), (1, 2, 3)), dense((1, 2, 4), (2, 3))
CNN, ZOO = file("cnn_int8"), file("zoo")

TWO_OPEN = r"leaves? several (sizes|parts) open; only one can be -1"
REFUSED: dict[str, tuple[bytes, Edit, str]] = {
    "slice size": (SLICE, constant("SLICE", 2, 1, 2, 4), r"SLICE 'y0' .*size \[1, 2, 4\] contradicts .* \[1, 3, 4\]"),
    "slice size, rest": (SLICE, constant("SLICE", 2, -1, -1, -1), r"its size \[1, 4, 4\] contradicts .* \[1, 3, 4\]"),
    "slice size, short": (SLICE, constant("SLICE", 2, 1, 3), r"size \[1, 3\] need one index for each axis of \(1, 6, 4\)"),
    "parts": (HALVES, option("SPLIT", "numSplits", 3), r"SPLIT 'y0' .*option says 3 parts, but it has 2 outputs; .*anew"),
    "uneven parts": (UNEVEN, option("SPLIT_V", "numSplits", 1), r"SPLIT_V 'y0' .*option says 1 parts, but it has 2 outputs"),
    "part sizes": (UNEVEN, constant("SPLIT_V", 1, 4, 2), r"its sizes \[4, 2\] contradicts the declared .* \[2, 4\]"),
    "part sizes, rest": (UNEVEN, constant("SPLIT_V", 1, -1, 2), r"its sizes \[4, 2\] contradicts the declared .* \[2, 4\]"),
    "part sizes, open": (UNEVEN, constant("SPLIT_V", 1, -1, -1), rf"its sizes \[-1, -1\] {TWO_OPEN}"),
    "part sizes, three": (UNEVEN, constant("SPLIT_V", 1, 2, 3, 1), r"its sizes \[2, 3, 1\] contradicts .* \[2, 4\]"),
    "new size": (
        RESIZED, constant("RESIZE_NEAREST_NEIGHBOR", 1, 3, 6), r"RESIZE_\S* 'y0' .*size \[3, 6\] contradicts .* \[8, 6\]"
    ),
    "new shape": (RESHAPED, constant("RESHAPE", 1, 1, 3, 4), r"RESHAPE 'y0' .*new shape \[1, 3, 4\] contra.* \[1, 4, 3\]"),
    "new shape, -1": (RESHAPED, constant("RESHAPE", 1, 3, -1), r"new shape \[3, 4\] contradicts .* \[1, 4, 3\]"),
    "new shape, no -1": (RESHAPED, constant("RESHAPE", 1, 1, 5, -1), r"new shape \[1, 5, -1\] contradicts .* \[1, 4, 3\]"),
    "new shape, open": (RESHAPED, constant("RESHAPE", 1, -1, -1, 3), rf"its new shape \[-1, -1, 3\] {TWO_OPEN}"),
    "shape option": (RESHAPED, new_shape_option(1, 3, 4), r"new shape \[1, 3, 4\] contradicts .* \[1, 4, 3\]"),
    "shape option, long": (RESHAPED, new_shape_option(*[1] * 9), r"option NewShape has 9 values; at most 8 are read"),
    "squeezed axis": (
        RESHAPED, becomes("SQUEEZE", "SqueezeOptions", squeezeDims=[0, 1]),
        r"SQUEEZE 'y0' .*its shape without axes \[0, 1\] of \(1, 1, 4, 3\) \[4, 3\] contradicts .* \[1, 4, 3\]",
    ),
    "squeezed axis of 4": (
        RESHAPED, becomes("SQUEEZE", "SqueezeOptions", squeezeDims=[2]), r"it drops axes \[2\] of \(1, 1, 4, 3\); only"
    ),
    "squeezed axes": (
        RESHAPED, becomes("SQUEEZE", "SqueezeOptions"), r"axes \[0, 1\] of \S* 1, 4, 3\) \[4, 3\] contra.* \[1, 4, 3\]"
    ),
    "new axis": (
        EXPANDED, becomes("EXPAND_DIMS", "ExpandDimsOptions", 1), r"new axis 1 \[1, 1, 4, 3\] contra.* \[1, 4, 1, 3\]"
    ),
    "two new axes": (EXPANDED, becomes("EXPAND_DIMS", "ExpandDimsOptions", 1, 2), r"it needs one axis, got \(1, 2\)"),
    "mean keeps": (MEAN, option("MEAN", "keepDims", True), r"MEAN 'y0' .*keep_dims says, \[1, 1, 1, 3\] contra.* \[1, 3\]"),
    "mean drops": (MEAN, declared("MEAN", 1, 1, 1, 3), r"without the axes \(1, 2\), .* \[1, 3\] contra.* \[1, 1, 1, 3\]"),
    "mean's axes": (MEAN, constant("MEAN", 1, 1), r"MEAN 'y0' .* \[1, 4, 3\] contradicts .* \[1, 3\]"),
    "dense keeps": (
        FLAT, option("FULLY_CONNECTED", "keepNumDims", True), r"keep_num_dims true \[1, 2, 3\] contradicts .* \[2, 3\]"
    ),
    "dense flattens": (
        ROWS, option("FULLY_CONNECTED", "keepNumDims", False), r"keep_num_dims false \[2, 3\] contradicts .* \[1, 2, 3\]"
    ),
    "depth multiplier": (
        CNN, option("DEPTHWISE_CONV_2D", "depthMultiplier", 2), r"DEPTH.* multiplier 2 makes 16 channels of 8, .* has 8"
    ),
    "tiles": (
        UNCHANGED, becomes("TILE", "TileOptions", 1, 2, 1), r"TILE 'y0' .*repeated .* \[1, 8, 3\] contradicts .* \[1, 4, 3\]"
    ),
    "tiles of one": (
        RESHAPED, becomes("TILE", "TileOptions", 1, 1, 1, 1), r"repeated .* \[1, 1, 4, 3\] contradicts .* \[1, 4, 3\]"
    ),
    "concatenation": (ZOO, declared("CONCATENATION", 1, 8, 4, 8), r"concatenation '\S*': .*\(1, 8, 4, 8\).*\(1, 8, 8, 4\)"),
    "transpose": (ZOO, declared("TRANSPOSE", 1, 14, 32, 4), r"transpose '\S*': .*\(1, 14, 32, 4\).*\(1, 32, 14, 4\)"),
    "pad": (ZOO, declared("PADV2", 1, 34, 16, 4), r"pad '\S*': .*\(1, 34, 16, 4\).*\(1, 33, 16, 4\)"),
    "transposed convolution": (
        ZOO, constant("TRANSPOSE_CONV", 0, 1, 16, 15, 6), r"output shape \[1, 16, 15, 6\] contradicts .* \[1, 16, 16, 6\]"
    ),
    "convolution": (CNN, declared("CONV_2D", 1, 5, 5, 8), r"conv2d '\S*': output is \(1, 5, 5, 8\), .* give \(1, 5, 4, 8\)"),
    "pool": (CNN, declared("MAX_POOL_2D", 1, 2, 2, 8), r"max_pool2d '\S*': output is \(1, 2, 2, 8\), .* give .*3, 2, 8\)"),
    "input without zero point": (CNN, no_zero_point("CONV_2D", 0), r"tensor '\S*': 1 scales without a zero point; write it"),
    "weights without": (CNN, no_zero_point("CONV_2D", 1), r"tensor '\S*': 8 scales without a zero point; write it"),
    "bias without": (CNN, no_zero_point("CONV_2D", 2), r"tensor '\S*': 8 scales without a zero point; write it"),
    "dropped axis backwards": (
        STRIDED, constant("STRIDED_SLICE", 3, 1, -1, 1), r"an axis that is dropped has the stride -1; it must be positive"
    ),
    "dropped axis outside": (
        STRIDED, constant("STRIDED_SLICE", 1, 0, 4, 0), r"index 4 of an axis of 4 that is dropped; it must be at most 3"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_contradicts_itself_is_refused(case: str) -> None:
    content, edit, message = REFUSED[case]
    load_tflite(edited(content, lambda _m: None))
    with pytest.raises(GraphError, match=message):
        load_tflite(edited(content, edit))


def masks(begin: int = 0, end: int = 0) -> Edit:
    return both(option("STRIDED_SLICE", "beginMask", begin), option("STRIDED_SLICE", "endMask", end))


LEGAL: dict[str, tuple[bytes, Edit]] = {
    "slice, rest": (SLICE, both(constant("SLICE", 1, 0, 3, 0), constant("SLICE", 2, 1, -1, -1))),
    "split, rest": (UNEVEN, constant("SPLIT_V", 1, 2, -1)),
    "reshape, rest": (RESHAPED, constant("RESHAPE", 1, -1, 4, 3)),
    "reshape by option, rest": (RESHAPED, new_shape_option(1, -1, 3)),
    "mean, kept": (MEAN, both(declared("MEAN", 1, 1, 1, 3), option("MEAN", "keepDims", True))),
    "mean, negative axes": (MEAN, constant("MEAN", 1, -3, -2)),
    "squeeze": (RESHAPED, becomes("SQUEEZE", "SqueezeOptions", squeezeDims=[-3])),
    "expand": (EXPANDED, becomes("EXPAND_DIMS", "ExpandDimsOptions", -2)),
    "dense, kept": (ROWS, lambda _m: None),
    "dropped axis": (STRIDED, lambda _m: None),
    "dropped axis, from the back": (STRIDED, constant("STRIDED_SLICE", 1, 0, -1, 0)),
    "dropped axis, before the front": (STRIDED, constant("STRIDED_SLICE", 1, 0, -9, 0)),
    "dropped axis, open begin": (STRIDED, masks(begin=0b010)),
    "dropped axis, open end": (STRIDED, masks(end=0b010)),
    "dropped axis, strided": (STRIDED, constant("STRIDED_SLICE", 3, 1, 2, 1)),
    "backwards": (
        STRIDED, both(constant("STRIDED_SLICE", 1, 0, 2, 2), constant("STRIDED_SLICE", 3, 1, 1, -1), masks(end=0b100))
    ),
    "backwards, open begin": (
        STRIDED, both(constant("STRIDED_SLICE", 1, 0, 2, 0), constant("STRIDED_SLICE", 3, 1, 1, -1), masks(0b100, 0b100))
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LEGAL)
def test_what_is_legal_answers_as_tflm_does(case: str) -> None:
    content, edit = LEGAL[case]
    content = edited(content, edit)
    graph = import_tflite(content).graph
    x = random(graph)
    if len(graph.outputs) == 1:
        np.testing.assert_array_equal(graph.run(x)[0], litert(content, x))
    if tflm_available():
        for y, want in zip(graph.run(x), tflm_run(content, x), strict=True):
            np.testing.assert_array_equal(y, want)


def random(graph: Graph) -> Array:
    return np.random.default_rng(5).integers(-128, 128, (4, *graph[graph.inputs[0]].shape)).astype(np.int8)


def test_a_depth_multiplier_left_at_0_is_that_of_the_shapes() -> None:
    """As for LiteRT; some writers leave it so. TFLM would multiply by it."""
    content = edited(CNN, option("DEPTHWISE_CONV_2D", "depthMultiplier", 0))
    graph = load_tflite(content)
    x = random(graph)
    np.testing.assert_array_equal(graph.run(x)[0], load_tflite(CNN).run(x)[0])
    np.testing.assert_array_equal(graph.run(x)[0], litert(content, x))


def folded_slice(*begin: int, **attributes: int) -> Edit:
    """The STRIDED_SLICE that takes the batch out of a shape (1, 3, 2, 8), where the RESHAPE's target begins with it."""

    def edit(m: Any) -> None:
        operator(m, "STRIDED_SLICE").inputs[1] = append_constant(m, np.array(begin, np.int32), "b", schema.TensorType.INT32)
        for name, value in attributes.items():
            setattr(operator(m, "STRIDED_SLICE").builtinOptions, name, value)

    return edit


def test_slices_of_shapes_follow_the_same_rules() -> None:
    """An open begin is 0, whatever the begin says; another begin would give a shape that does not fit."""
    x = random(load_tflite(CNN))
    graph = load_tflite(edited(CNN, folded_slice(3, beginMask=1)))
    np.testing.assert_array_equal(graph.run(x)[0], load_tflite(CNN).run(x)[0])
    with pytest.raises(GraphError, match=r"new shape \[8, 48\] contradicts the declared shape, which has \[1, 48\]"):
        load_tflite(edited(CNN, folded_slice(3)))
    with pytest.raises(GraphError, match=r"STRIDED_SLICE '\S*' .*index 4 of an axis of 4 that is dropped"):
        load_tflite(edited(CNN, folded_slice(4)))
    with pytest.raises(GraphError, match=r"STRIDED_SLICE '\S*' .*the result is empty"):
        load_tflite(edited(CNN, folded_slice(1, shrinkAxisMask=0)))
    with pytest.raises(GraphError, match=r"STRIDED_SLICE '\S*' .*offset slices are not supported"):
        load_tflite(edited(CNN, folded_slice(0, offset=True)))


FIELD = {
    "slice_size_contradicts_output": r"SLICE .*its size \[1, 4\] contradicts the declared shape, which has \[1, 8\]",
    "resize_size_contradicts_output": r"RESIZE.*its size \[3, 5\] contradicts the declared shape, which has \[8, 8\]",
    "scale_without_zero_point": r"tensor 't0': 1 scales without a zero point",
    "depth_multiplier_contradicts_shapes": r"depth multiplier 1 makes 2 channels of 2, .* output has 4",
}


def test_files_from_the_field(shared: Path) -> None:
    folder = shared / "field" / "files"
    for name, message in FIELD.items():
        with pytest.raises(GraphError, match=message):
            load_tflite(folder / f"{name}.tflite")
    content = (folder / "strided_slice_shrink_with_begin_mask.tflite").read_bytes()
    x = random(load_tflite(content))
    np.testing.assert_array_equal(load_tflite(content).run(x)[0], litert(content, x))
    if tflm_available():
        np.testing.assert_array_equal(load_tflite(content).run(x)[0], tflm_run(content, x)[0])


@needs_tflm
def test_mutated_files_that_import_compute_what_tflm_computes() -> None:
    assert_equal_to_tflm(400, seed=1)


@needs_tflm
@pytest.mark.slow
def test_many_mutated_files_that_import_compute_what_tflm_computes() -> None:
    assert_equal_to_tflm(3000, seed=2)


def assert_equal_to_tflm(count: int, seed: int) -> None:
    """In a process without threads, which can be forked: TFLM dies of some files."""
    command = [sys.executable, "-m", "tests.importers.against_tflm", str(count), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120 + count)
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = json.loads(done.stdout.splitlines()[-1])
    assert outcomes.get("differs", 0) == 0, done.stderr[-3000:]
    assert outcomes["equal"] > count / 5  # the mutations leave enough to compare
    assert outcomes["refused"] > count / 5
