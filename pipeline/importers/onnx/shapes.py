"""ONNX nodes whose inputs are all known beforehand: shape arithmetic as exporters write it, and constants on their way to
where they are used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.importers.onnx.file import OnnxNode
from pipeline.ir import Array

MAX_VALUES = 1 << 24
Values = list[Array]


def _axes(n: OnnxNode, x: Values) -> tuple[int, ...]:
    given = n.attributes.get("axes", x[1].reshape(-1).tolist() if len(x) > 1 else [])
    return tuple(int(a) for a in given)


def _slice(n: OnnxNode, x: Values) -> Array:
    if len(x) == 1:
        starts, ends = n.attributes["starts"], n.attributes["ends"]
        axes, steps = n.attributes.get("axes", range(len(starts))), [1] * len(starts)
    else:
        starts, ends = (v.reshape(-1).tolist() for v in x[1:3])
        axes = x[3].reshape(-1).tolist() if len(x) > 3 else range(len(starts))
        steps = x[4].reshape(-1).tolist() if len(x) > 4 else [1] * len(starts)
    index = [slice(None)] * x[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[int(axis)] = slice(int(start), int(end), int(step))
    return x[0][tuple(index)]


def _reshape(n: OnnxNode, x: Values) -> Array:
    wanted = [x[0].shape[i] if d == 0 else d for i, d in enumerate(x[1].reshape(-1).tolist())]
    return x[0].reshape([int(d) for d in wanted])


def _constant(n: OnnxNode, _x: Values) -> Array:
    a = n.attributes
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in a:
            return np.asarray(a[name], dtype)
    return np.asarray(a["value"])


def _constant_of_shape(n: OnnxNode, x: Values) -> Array:
    shape = [int(d) for d in x[0].reshape(-1)]
    if np.prod(np.array(shape, np.float64)) > MAX_VALUES:
        raise ValueError(f"shape {shape} is too large")
    value = np.asarray(n.attributes.get("value", np.zeros(1, np.float32))).reshape(-1)
    return np.full(shape, value[0])


def _div(_n: OnnxNode, x: Values) -> Array:
    if x[0].dtype.kind in "iu" and x[1].dtype.kind in "iu":
        if not x[1].all():
            raise ValueError("division by zero")
        return np.asarray(np.trunc(x[0] / x[1])).astype(x[0].dtype)
    return np.asarray(x[0] / x[1])


CASTS = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}

FOLDABLE: dict[str, Callable[[OnnxNode, Values], Array]] = {
    "Add": lambda _n, x: np.asarray(x[0] + x[1]),
    "Cast": lambda n, x: x[0].astype(CASTS[n.integer("to", 0)]),
    "Ceil": lambda _n, x: np.ceil(x[0]),
    "Concat": lambda n, x: np.concatenate(x, axis=n.integer("axis", 0)),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _div,
    "Flatten": lambda n, x: x[0].reshape(int(np.prod(x[0].shape[: n.integer("axis", 1)], initial=1)), -1),
    "Floor": lambda _n, x: np.floor(x[0]),
    "Gather": lambda n, x: np.take(x[0], x[1], axis=n.integer("axis", 0)),
    "Identity": lambda _n, x: x[0],
    "Mul": lambda _n, x: np.asarray(x[0] * x[1]),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": lambda n, x: np.squeeze(x[0], _axes(n, x) or None),
    "Sub": lambda _n, x: np.asarray(x[0] - x[1]),
    "Transpose": lambda n, x: np.transpose(x[0], n.attributes.get("perm")),
    "Unsqueeze": lambda n, x: np.expand_dims(x[0], _axes(n, x)),
}


def fold(node: OnnxNode, inputs: Values) -> Array | None:
    """The value of a node whose inputs are all constants, or None when it is none that is computed beforehand. A GraphError
    when it can not be."""
    function = FOLDABLE.get(node.op)
    if function is None or sum(x.size for x in inputs) > MAX_VALUES:
        return None
    try:
        with np.errstate(all="ignore"):
            if (
                len(inputs) == 2
                and inputs[0].size * inputs[1].size > MAX_VALUES
                and 1 not in (inputs[0].size, inputs[1].size)
            ):
                np.broadcast_shapes(inputs[0].shape, inputs[1].shape)
            value = np.asarray(function(node, inputs))
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as e:
        raise node.fail(f"its constant operands do not fit together ({e})") from None
    if value.size > MAX_VALUES:
        raise node.fail(f"its value has {value.size:,} entries")
    return value
