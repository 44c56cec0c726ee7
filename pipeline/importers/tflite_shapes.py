"""Integer arithmetic on shapes, done while importing. Converters write it for models with an open batch size: SHAPE, then
STRIDED_SLICE and PACK, feed a RESHAPE. With every shape known, all of it is constant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.importers.tflite_file import FileOperator
from pipeline.ir import Array

MAX_VALUES = 1024  # this is for shapes, not for tables of weights
Values = Sequence[Array]


def _strided_slice(op: FileOperator, x: Values) -> Array:
    o = op.options("StridedSliceOptions")
    masks = {m: o.integer(f"{m}Mask") for m in ("Begin", "End", "ShrinkAxis", "Ellipsis", "NewAxis")}
    if masks["Ellipsis"] or masks["NewAxis"]:
        raise ValueError("ellipsis and new-axis masks")
    index: list[slice | int] = []
    for i, (begin, end, stride) in enumerate(zip(*(a.reshape(-1).tolist() for a in x[1:4]), strict=True)):
        if masks["ShrinkAxis"] >> i & 1:
            index.append(0 if masks["Begin"] >> i & 1 else begin)
        else:
            index.append(slice(None if masks["Begin"] >> i & 1 else begin, None if masks["End"] >> i & 1 else end, stride))
    return np.asarray(x[0][tuple(index)])


def _reduced(op: FileOperator, x: Values) -> Array:
    keep = bool(op.options("ReducerOptions")["KeepDims"])
    return np.asarray(np.prod(x[0], axis=tuple(x[1].reshape(-1).tolist()), keepdims=keep))


FOLDABLE: dict[str, Callable[[FileOperator, Values], Array]] = {
    "STRIDED_SLICE": _strided_slice,
    "PACK": lambda op, x: np.stack(x, axis=op.options("PackOptions").integer("Axis")),
    "CONCATENATION": lambda op, x: np.concatenate(x, axis=op.options("ConcatenationOptions").integer("Axis")),
    "GATHER": lambda op, x: np.take(x[0], x[1], axis=op.options("GatherOptions").integer("Axis")),
    "REDUCE_PROD": _reduced,
    "MUL": lambda _op, x: np.asarray(x[0] * x[1]),
    "ADD": lambda _op, x: np.asarray(x[0] + x[1]),
    "SUB": lambda _op, x: np.asarray(x[0] - x[1]),
    "CAST": lambda _op, x: x[0],
}


def fold(op: FileOperator, inputs: Values) -> Array | None:
    """The value of an integer operator whose inputs are all known, or None when it is none that shapes are computed with.
    ValueError or IndexError when its attributes do not fit."""
    function = FOLDABLE.get(op.builtin)
    if function is None or not inputs or any(x.size > MAX_VALUES or x.dtype.kind != "i" for x in inputs):
        return None
    value = function(op, [x.astype(np.int64) for x in inputs])
    return value.astype(np.int32) if value.size <= MAX_VALUES else None
