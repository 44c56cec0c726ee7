"""The ONNX nodes of operators that only move values: they work on stored values, so they are exact in either form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.codegen.onnx.writer import TO_NCHW, Layout, Writer
from pipeline.ir import Op
from pipeline.ops.concatenation import Concatenation
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.pad import Pad
from pipeline.ops.relu6 import Relu6
from pipeline.ops.reshape import Reshape
from pipeline.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from pipeline.ops.slice import Slice
from pipeline.ops.split import Split
from pipeline.ops.strided_slice import StridedSlice
from pipeline.ops.transpose import Transpose


def onnx_pads(pads: tuple[int, int, int, int]) -> list[int]:
    """(top, bottom, left, right) in ONNX's order: all begins, then all ends."""
    return [pads[0], pads[2], pads[1], pads[3]]


def common_layout(op: Op, w: Writer) -> Layout:
    """NCHW when all values are 4-D (constants may be broadcast) and one is NCHW already, else the graph's own: ONNX counts
    and broadcasts axes as they are stored."""
    values = [n for n in (*op.inputs, *op.outputs) if w.graph[n].data is None]
    if all(len(w.graph[n].shape) == 4 for n in values) and any(w.layout(n) == "nchw" for n in op.inputs):
        return "nchw"
    return "nhwc"


def reshaped(w: Writer, value: str, name: str, shape: tuple[int, ...]) -> str:
    return w.node("Reshape", [value, w.constant(f"{name}/shape", np.array(shape, np.int64))], name)


def concatenation(op: Concatenation, w: Writer) -> None:
    layout = common_layout(op, w)
    axis = TO_NCHW.index(op.axis) if layout == "nchw" else op.axis
    value = w.node("Concat", [w.stored(n, layout) for n in op.inputs], f"{op.output}/joined", axis=axis)
    w.keep(value, op.output, layout)


def max_pool2d(op: MaxPool2d, w: Writer) -> None:
    value = w.node(
        "MaxPool", [w.stored(op.inputs[0], "nchw")], f"{op.output}/max", kernel_shape=list(op.kernel),
        strides=list(op.stride), pads=onnx_pads(op.pads),
    )  # fmt: skip
    w.keep(value, op.output, "nchw", op.activation)


def pad(op: Pad, w: Writer) -> None:
    x, layout = w.graph[op.inputs[0]], common_layout(op, w)
    widths = [op.widths[i] for i in TO_NCHW] if layout == "nchw" else list(op.widths)
    pads = np.array([b for b, _ in widths] + [a for _, a in widths], np.int64)
    fill = w.encode(x, np.array(x.zero_point if op.value is None else op.value, np.int8))
    names = [w.constant(f"{op.output}/pads", pads), w.constant(f"{op.output}/fill", fill)]
    w.keep(w.node("Pad", [w.stored(op.inputs[0], layout), *names], f"{op.output}/padded"), op.output, layout)


def relu6(op: Relu6, w: Writer) -> None:
    layout = common_layout(op, w)
    w.keep(w.stored(op.inputs[0], layout), op.output, layout, "relu6")


def reshape(op: Reshape, w: Writer) -> None:
    w.keep(reshaped(w, w.stored(op.inputs[0]), f"{op.output}/reshaped", w.graph[op.output].shape), op.output)


def resize_nearest_neighbor(op: ResizeNearestNeighbor, w: Writer) -> None:
    """By the operator's own index tables: ONNX's Resize rounds in more ways than one, and runtimes differ."""
    value = w.stored(op.inputs[0])
    for axis, index in zip((1, 2), op.indexes(w.graph), strict=True):
        table = w.constant(f"{op.output}/index_{axis}", index.astype(np.int64))
        value = w.node("Gather", [value, table], f"{op.output}/resized_{axis}", axis=axis)
    w.keep(value, op.output)


def slice_(op: Slice, w: Writer) -> None:
    end = [b + s for b, s in zip(op.begin, w.graph[op.output].shape, strict=True)]
    w.keep(_sliced(w, op.inputs[0], op.output, list(op.begin), end, [1] * len(end)), op.output)


def split(op: Split, w: Writer) -> None:
    at = 0
    for name in op.outputs:
        shape = w.graph[name].shape
        begin = [at if i == op.axis else 0 for i in range(len(shape))]
        at += shape[op.axis]
        w.keep(
            _sliced(w, op.inputs[0], name, begin, [b + s for b, s in zip(begin, shape, strict=True)], [1] * len(shape)), name
        )


def strided_slice(op: StridedSlice, w: Writer) -> None:
    """ONNX counts a negative end from the back: beyond the front is where a negative stride includes value 0."""
    end = [e if e >= 0 else -n - 1 for e, n in zip(op.end, w.graph[op.inputs[0]].shape, strict=True)]
    value = _sliced(w, op.inputs[0], op.output, list(op.begin), end, list(op.strides))
    w.keep(reshaped(w, value, f"{op.output}/shrunk", w.graph[op.output].shape) if op.shrink else value, op.output)


def _sliced(w: Writer, source: str, target: str, begin: list[int], end: list[int], strides: list[int]) -> str:
    parts = (("begin", begin), ("end", end), ("axes", list(range(len(begin)))), ("strides", strides))
    names = [w.constant(f"{target}/{name}", np.array(v, np.int64)) for name, v in parts]
    return w.node("Slice", [w.stored(source), *names], f"{target}/cut")


def transpose(op: Transpose, w: Writer) -> None:
    w.keep(w.node("Transpose", [w.stored(op.inputs[0])], f"{op.output}/turned", perm=list(op.permutation)), op.output)


MOVES: Mapping[type[Op], Callable[[Any, Writer], None]] = {
    Concatenation: concatenation,
    MaxPool2d: max_pool2d,
    Pad: pad,
    Relu6: relu6,
    Reshape: reshape,
    ResizeNearestNeighbor: resize_nearest_neighbor,
    Slice: slice_,
    Split: split,
    StridedSlice: strided_slice,
    Transpose: transpose,
}
