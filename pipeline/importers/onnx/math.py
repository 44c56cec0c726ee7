"""ONNX nodes that compute value by value: arithmetic with broadcasting, and functions of one value as tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.fixedpoint import dequantize, quantize
from pipeline.importers.layout import Axes
from pipeline.importers.onnx.builder import OnnxBuilder
from pipeline.importers.onnx.file import OnnxNode
from pipeline.importers.stored import Value
from pipeline.ir import Array, Op, Quant
from pipeline.ops.logistic import Logistic
from pipeline.ops.lookup import Lookup
from pipeline.ops.prelu import Prelu
from pipeline.ops.relu import Relu
from pipeline.ops.relu6 import Relu6
from pipeline.ops.tanh import Tanh

Write = Callable[[OnnxBuilder, OnnxNode], None]
Function = Callable[[OnnxNode, Array], Array]
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _order(values: list[Value], rank: int) -> Axes:
    """The order of the operand with most axes, that has most values: the others are brought to it."""
    best = max(values, key=lambda v: (len(v.shape), math.prod(v.shape)))
    return (*range(rank - len(best.shape)), *(i + rank - len(best.shape) for i in best.order))


def _operand(b: OnnxBuilder, n: OnnxNode, i: int, rank: int, order: Axes, quant: Quant | None) -> str:
    """Input i as a tensor of `rank` axes stored in `order`; a constant becomes an int8 one."""
    name = b.input_name(n, i)
    if b.is_constant(name):
        values, stored = _int8_constant(b, n, i, quant)
        values = values.reshape((1,) * (rank - values.ndim) + values.shape).transpose(order)
        return b.add_constant(f"{b.label(n)}.constant", np.ascontiguousarray(values), stored)
    value = b.unflattened(b.value(n, i))
    wide = Value(value.name, (1,) * (rank - len(value.shape)) + value.shape, _wider(value, rank))
    name = b.reshaped(value.name, tuple(wide.shape[a] for a in wide.order), f"{value.name}.wide")
    moved = b.stored_as(Value(name, wide.shape, wide.order), order)
    return moved.name if quant is None else b.requantised(moved, quant).name


def _wider(value: Value, rank: int) -> Axes:
    more = rank - len(value.shape)
    return (*range(more), *(a + more for a in value.order))


def _int8_constant(b: OnnxBuilder, n: OnnxNode, i: int, quant: Quant | None) -> tuple[Array, Quant]:
    """A constant operand as int8: as the file has it where that is one scale's worth, else quantised here."""
    name = b.input_name(n, i)
    real = np.asarray(b.constant(n, i, "its operand"), np.float64)
    if real.size > 1 << 24 or not np.isfinite(real).all() or real.size == 0:
        raise n.fail(f"its constant operand {name!r} is not finite, empty or too large")
    if name in b.integers and quant is None:
        q = b.integers[name]
        if q.values.dtype in (np.int8, np.uint8) and q.scale.size == 1 == q.zero.size:
            offset = 128 if q.values.dtype == np.uint8 else 0
            values = (q.values.astype(np.int16) - offset).astype(np.int8)
            return values, Quant((float(q.scale.reshape(())),), int(q.zero.reshape(())) - offset)
    quant = quant or Quant((float(max(np.abs(real).max() / 127, 1e-30)),))
    return np.asarray(quantize(real, quant.scale[0], quant.zero_point)), quant


def _binary(b: OnnxBuilder, n: OnnxNode, cls: type[Op], *, clamps: bool = False, quant: Quant | None = None) -> None:
    if len(n.inputs) != 2:
        raise n.fail(f"it has {len(n.inputs)} operands; two are supported")
    live = [b.value(n, i) for i in (0, 1) if not b.is_constant(b.input_name(n, i))]
    shapes = [b.constant(n, i, "").shape if b.is_constant(n.inputs[i]) else b.value(n, i).shape for i in (0, 1)]
    if not live:
        raise n.fail("both operands are constants")
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise n.fail(f"shapes {shapes[0]} and {shapes[1]} do not broadcast") from None
    order = _order(live, len(shape))
    names = [_operand(b, n, i, len(shape), order, quant) for i in (0, 1)]
    b.emit(n, cls, names, tuple(shape), order, quant=quant, clamps=clamps)


def div(b: OnnxBuilder, n: OnnxNode) -> None:
    """By one constant."""
    by = b.constant(n, 1, "the divisor").astype(np.float64)
    if by.size != 1 or not by.all():
        raise n.fail(f"only division by one constant has an int8 form, not by {by.shape} values")
    _table(b, n, lambda _n, x: x / by.reshape(()))


def power(b: OnnxBuilder, n: OnnxNode) -> None:
    """To one constant exponent."""
    exponent = b.constant(n, 1, "the exponent").astype(np.float64)
    if exponent.size != 1:
        raise n.fail("only one constant exponent has an int8 form")
    whole = np.rint(exponent)  # an exponent that was quantised itself may have lost its last digit
    exponent = np.where(np.abs(exponent - whole) < 1e-3, whole, exponent)
    _table(b, n, lambda _n, x: x ** exponent.reshape(()))


def binary(cls: type[Op]) -> Write:
    """Arithmetic of two values, its result clamped where a clamp follows."""
    return lambda b, n: _binary(b, n, cls, clamps=True)


def selecting(cls: type[Op]) -> Write:
    """Of two values in the result's own quantisation."""

    def write(b: OnnxBuilder, n: OnnxNode) -> None:
        quant = b.quant(n.outputs[0])
        if quant is None:
            raise n.fail(f"its result {n.outputs[0]!r} is not quantised")
        _binary(b, n, cls, quant=quant)

    return write


def pointwise(cls: type[Op], **defaults: float) -> Write:
    """Of each value, with numbers of the node that have `defaults`."""
    return lambda b, n: _pointwise(b, n, cls, **{name: n.number(name, number) for name, number in defaults.items()})


def prelu(b: OnnxBuilder, n: OnnxNode) -> None:
    x = b.unflattened(b.value(n, 0))
    slope = b.constant(n, 1, "its slope")
    if slope.ndim > len(x.shape):
        raise n.fail(f"slopes of shape {slope.shape} do not fit the input {x.shape}")
    b.emit(n, Prelu, (x.name, _operand(b, n, 1, len(x.shape), x.order, None)), x.shape, x.order)


def clip(b: OnnxBuilder, n: OnnxNode) -> None:
    low, high = b.clamp_bounds(n)
    if (low, high) == (0.0, 6.0):
        _pointwise(b, n, Relu6)
    elif (low, high) == (0.0, None):
        _pointwise(b, n, Relu)
    else:
        _table(b, n, lambda _n, x: np.clip(x, -np.inf if low is None else low, np.inf if high is None else high))


def sigmoid(b: OnnxBuilder, n: OnnxNode) -> None:
    if b.quant(n.outputs[0]) == Quant((1 / 256,), -128):
        _pointwise(b, n, Logistic)
    else:
        _table(b, n, lambda _n, x: 1 / (1 + np.exp(-x)))


def tanh(b: OnnxBuilder, n: OnnxNode) -> None:
    if b.quant(n.outputs[0]) == Quant((1 / 128,), 0):
        _pointwise(b, n, Tanh)
    else:
        _table(b, n, lambda _n, x: np.tanh(x))


def _pointwise(b: OnnxBuilder, n: OnnxNode, cls: type[Op], **attributes: Any) -> None:
    x = b.value(n, 0)
    b.emit(n, cls, (x.name,), x.shape, x.order, flat=x.flat, **attributes)


def _table(b: OnnxBuilder, n: OnnxNode, function: Function) -> None:
    """All 256 answers, rounded once."""
    x, y = b.value(n, 0), b.quant(n.outputs[0])
    if y is None:
        raise n.fail(f"its result {n.outputs[0]!r} is not quantised")
    q = b.quant_of(x)
    with np.errstate(all="ignore"):
        real = function(n, dequantize(np.arange(-128, 128), q.scale[0], q.zero_point).astype(np.float64))
        if np.isnan(real).any():
            raise n.fail("it has no value for some of its inputs (it gives NaN)")
        table = quantize(np.clip(real, -1e30, 1e30), y.scale[0], y.zero_point)
    b.emit(n, Lookup, (x.name,), x.shape, x.order, flat=x.flat, table=tuple(int(v) for v in table))


FUNCTIONS: dict[str, Function] = {
    "Abs": lambda _n, x: np.abs(x),
    "Elu": lambda n, x: np.where(x < 0, n.number("alpha", 1.0) * np.expm1(x), x),
    "Erf": lambda _n, x: np.asarray(_erf(x)),
    "Exp": lambda _n, x: np.exp(x),
    "Gelu": lambda _n, x: np.asarray(x * 0.5 * (1 + _erf(x / math.sqrt(2)))),
    "HardSigmoid": lambda n, x: np.clip(n.number("alpha", 0.2) * x + n.number("beta", 0.5), 0, 1),
    "Neg": lambda _n, x: -x,
    "Selu": lambda n, x: (
        n.number("gamma", 1.0507009873554805) * np.where(x < 0, n.number("alpha", 1.6732632423543772) * np.expm1(x), x)
    ),
    "Softplus": lambda _n, x: np.logaddexp(0, x),
    "Softsign": lambda _n, x: x / (1 + np.abs(x)),
    "Mish": lambda _n, x: x * np.tanh(np.logaddexp(0, x)),
}


def function(b: OnnxBuilder, n: OnnxNode) -> None:
    _table(b, n, FUNCTIONS[n.op])
