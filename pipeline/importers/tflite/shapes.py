"""Integer arithmetic on shapes, done while importing. Converters write it for models with an open batch size: SHAPE, then
STRIDED_SLICE and PACK, feed a RESHAPE. With every shape known, all of it is constant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.importers.tflite.file import FileOperator
from pipeline.ir import Array

MAX_VALUES = 1024  # this is for shapes, not for tables of weights
Values = Sequence[Array]


@dataclass(frozen=True, slots=True)
class StridedRanges:
    """What a STRIDED_SLICE takes: (begin, end, stride) of each axis, counted from the front as Python's range has it, and
    the axes that it drops."""

    ranges: tuple[tuple[int, int, int], ...]
    shrink: tuple[int, ...]


def strided_ranges(op: FileOperator, shape: tuple[int, ...], operands: Values) -> StridedRanges:
    """Of a tensor of that shape, cut by the begins, ends and strides. ValueError for what is not supported.

    Python's rules for negative and missing bounds are TFLite's. Source: tflite/kernels/internal/strided_slice_logic.h.
    """
    o = op.options("StridedSliceOptions")
    masks = {m: o.integer(f"{m}Mask") for m in ("Begin", "End", "ShrinkAxis", "Ellipsis", "NewAxis")}
    if masks["Ellipsis"] or masks["NewAxis"] or o["Offset"]:
        raise ValueError("ellipsis, new-axis and offset slices are not supported; write the begin and end of every axis")
    begins, ends, strides = (a.reshape(-1).tolist() for a in operands)
    if not len(begins) == len(ends) == len(strides) <= len(shape):
        raise ValueError(f"{len(begins)} begins, {len(ends)} ends and {len(strides)} strides do not fit the input {shape}")
    ranges = [(0, size, 1) for size in shape]
    open_begin, open_end, shrunk = (
        [bool(masks[m] >> i & 1) for i in range(len(begins))] for m in ("Begin", "End", "ShrinkAxis")
    )
    for i, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        if stride == 0:
            raise ValueError("a stride of a slice is 0")
        begin, end = None if open_begin[i] else begin, None if open_end[i] else end
        ranges[i] = _single(begin, stride, shape[i]) if shrunk[i] else slice(begin, end, stride).indices(shape[i])
    return StridedRanges(tuple(ranges), tuple(i for i, dropped in enumerate(shrunk) if dropped))


def _single(begin: int | None, stride: int, size: int) -> tuple[int, int, int]:
    """The one value of a dropped axis: its end does not matter, an open begin is 0, one before the front is the first."""
    if stride < 0:
        raise ValueError(f"an axis that is dropped has the stride {stride}; it must be positive")
    at = 0 if begin is None else max(begin + size, 0) if begin < 0 else begin
    if at >= size:  # where TFLM would read beyond the tensor
        raise ValueError(f"index {begin} of an axis of {size} that is dropped; it must be at most {size - 1}")
    return at, at + 1, 1


def _strided_slice(op: FileOperator, x: Values) -> Array:
    value, cut = x[0], strided_ranges(op, x[0].shape, x[1:])
    for axis, bounds in enumerate(cut.ranges):
        value = np.take(value, np.arange(*bounds), axis=axis)
    return np.asarray(value.squeeze(cut.shrink))


def _arithmetic(function: Callable[[Array, Array], Array], options: str) -> Callable[[FileOperator, Values], Array]:
    def folded(op: FileOperator, x: Values) -> Array:
        if op.options(options)["FusedActivationFunction"]:
            raise ValueError("a fused activation in arithmetic on shapes")
        a, b = x
        return np.asarray(function(a, b))

    return folded


def _gather(op: FileOperator, x: Values) -> Array:
    o = op.options("GatherOptions")
    if o["BatchDims"] or bool((x[1] < 0).any()):
        raise ValueError(
            f"indexes {x[1].reshape(-1)[:8].tolist()} must not be negative, and there can be no batch dimensions"
        )
    return np.take(x[0], x[1], axis=o.integer("Axis"))


def _reduced(op: FileOperator, x: Values) -> Array:
    keep = bool(op.options("ReducerOptions")["KeepDims"])
    return np.asarray(np.prod(x[0], axis=tuple(x[1].reshape(-1).tolist()), keepdims=keep))


FOLDABLE: dict[str, Callable[[FileOperator, Values], Array]] = {
    "STRIDED_SLICE": _strided_slice,
    "PACK": lambda op, x: np.stack(x, axis=op.options("PackOptions").integer("Axis")),
    "CONCATENATION": lambda op, x: np.concatenate(x, axis=op.options("ConcatenationOptions").integer("Axis")),
    "GATHER": _gather,
    "REDUCE_PROD": _reduced,
    "MUL": _arithmetic(np.multiply, "MulOptions"),
    "ADD": _arithmetic(np.add, "AddOptions"),
    "SUB": _arithmetic(np.subtract, "SubOptions"),
    "CAST": lambda _op, x: x[0],
}


def fold(op: FileOperator, inputs: Values) -> Array | None:
    """The value of an integer operator whose inputs are all known, or None when it is none that shapes are computed with.
    ValueError or IndexError when its attributes do not fit."""
    function = FOLDABLE.get(op.builtin)
    if function is None or not inputs or any(x.size > MAX_VALUES or x.dtype.kind != "i" for x in inputs):
        return None
    value = function(op, [x.astype(np.int64) for x in inputs])
    if not value.size:
        raise ValueError("the result is empty")
    return value.astype(np.int32) if value.size <= MAX_VALUES else None
