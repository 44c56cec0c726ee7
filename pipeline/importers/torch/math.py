"""Arithmetic value by value. What has no operator of its own is a table of 256 results, computed by torch itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.fx import Node

from pipeline.importers.layout import plain
from pipeline.importers.torch.calls import activation_of, aten, clamp_bounds, name_of
from pipeline.importers.torch.row import Row
from pipeline.ir import Array
from pipeline.ops.add import Add
from pipeline.ops.hard_swish import HardSwish
from pipeline.ops.leaky_relu import LeakyRelu
from pipeline.ops.logistic import Logistic
from pipeline.ops.lookup import Lookup, lookup_table
from pipeline.ops.maximum import Maximum
from pipeline.ops.minimum import Minimum
from pipeline.ops.mul import Mul
from pipeline.ops.prelu import Prelu
from pipeline.ops.relu import Relu
from pipeline.ops.relu6 import Relu6
from pipeline.ops.softmax import Softmax
from pipeline.ops.sub import Sub
from pipeline.ops.tanh import Tanh

if TYPE_CHECKING:
    from pipeline.importers.stored import Value
    from pipeline.importers.torch.builder import Builder


def table(b: Builder, node: Node) -> None:
    """Any function of one value: torch's own answers to the 256 possible inputs."""
    if any(isinstance(a, Node) for a in node.args[1:]):
        raise b.fail(
            node, f"{name_of(node)} of two activations has no int8 form; one of them must be a number or a parameter"
        )
    x = b.value(node.args[0])
    end, _ = b.fused(node)
    low, high = (clamp_bounds(end) or (None, None)) if end is not node else (None, None)

    def answers(real: Array) -> Array:
        result = _call(node, torch.from_numpy(real)).numpy()
        return result if low is None and high is None else np.clip(result, low, high)

    found = lookup_table(answers, b.tensors[x.name], _tensor(b, node))
    b.emit(node, Lookup, (x.name,), x.order, flat=x.flat, table=found)


def _call(node: Node, x: torch.Tensor) -> torch.Tensor:
    target: Any = node.target
    result = target(x, *node.args[1:], **node.kwargs)
    return torch.nan_to_num(result, nan=0.0)  # an input just outside of a square root's domain, by rounding


def _tensor(b: Builder, node: Node) -> Any:
    from pipeline.ir import Tensor

    return Tensor((1,), "int8", b.quant(b.fused(node)[0]))


def _unary(cls: Any, **attributes: str) -> Any:
    """An operator of its own; `attributes` are its fields by the names of torch's arguments."""

    def lower(b: Builder, node: Node) -> None:
        x, a = b.value(node.args[0]), b.arguments(node)
        b.emit(node, cls, (x.name,), x.order, flat=x.flat, **{ours: a[theirs] for ours, theirs in attributes.items()})

    return lower


def clamp(b: Builder, node: Node) -> None:
    """One that no operator before it takes in."""
    cls: Any = {"relu": Relu, "relu6": Relu6}.get(str(activation_of(node)))
    if cls is None:
        table(b, node)
    else:
        _unary(cls)(b, node)


def _binary(cls: Any, *, same_quant: bool = False) -> Any:
    """Two activations, or an activation and a parameter, which broadcast; a number makes it a function of one value."""

    def lower(b: Builder, node: Node) -> None:
        a = b.arguments(node)
        if a.get("alpha", 1) != 1:
            raise b.fail(node, f"{a['alpha']} times an operand has no int8 form here; multiply first")
        if not isinstance(a["other"], Node):
            table(b, node)
            return
        first, second = b.quantised_constant(a["self"]), b.quantised_constant(a["other"])
        quant = b.quant(b.fused(node)[0])
        if first is None and second is None:
            x, y = _aligned(b, node, b.value(a["self"]), b.value(a["other"]))
            if same_quant:
                x, y = b.requantised(x, quant), b.requantised(y, quant)
            b.emit(node, cls, (x.name, y.name), x.order, flat=x.flat)
            return
        x = b.value(a["self"] if first is None else a["other"])
        x = b.requantised(x, quant) if same_quant else x
        data, data_quant = first if first is not None else second  # type: ignore[misc]
        if same_quant:
            real = (data.astype(np.float64) - data_quant.zero_point) * data_quant.scale[0]
            data = np.clip(np.rint(real / quant.scale[0]) + quant.zero_point, -128, 127).astype(np.int8)
            data_quant = quant
        c = b.add_constant(f"{b.label(node)}.constant", _stored(data, x, b, node), data_quant)
        b.emit(node, cls, (x.name, c) if first is None else (c, x.name), x.order, flat=x.flat)

    return lower


def _aligned(b: Builder, node: Node, x: Value, y: Value) -> tuple[Value, Value]:
    """Both operands stored in the order of the larger."""
    if len(x.shape) != len(y.shape):
        raise b.fail(node, f"{x.shape} and {y.shape} do not line up; unsqueeze the smaller one")
    if x.flat == y.flat and x.order == y.order:
        return x, y
    x, y = b.unflattened(x), b.unflattened(y)
    order = x.order if np.prod(x.shape) >= np.prod(y.shape) else y.order
    return b.stored_as(x, order), b.stored_as(y, order)


def _stored(data: Array, x: Value, b: Builder, node: Node) -> Array:
    """A parameter, broadcast against activation `x`, in the order in which that is stored."""
    rank = len(x.shape)
    if data.ndim > rank or (data.ndim == rank and data.shape[0] != 1):
        raise b.fail(node, f"a parameter of shape {data.shape} does not broadcast to {x.shape}")
    wide = data.reshape((1,) * (rank - data.ndim) + data.shape)
    if x.flat is not None:
        return np.ascontiguousarray(wide[:, x.columns] if wide.shape[1] > 1 else wide)
    return np.ascontiguousarray(wide.transpose(x.order))


def prelu(b: Builder, node: Node) -> None:
    x = b.unflattened(b.value(node.args[0]))
    found = b.quantised_constant(node.args[1])
    if found is None:
        raise b.fail(node, "the slopes of prelu must be parameters")
    slopes, quant = found
    along = slopes.reshape(1, -1, *[1] * (len(x.shape) - 2))
    alpha = b.add_constant(f"{b.label(node)}.alpha", np.ascontiguousarray(along.transpose(x.order)), quant)
    b.emit(node, Prelu, (x.name, alpha), x.order)


def softmax(b: Builder, node: Node) -> None:
    """Along the axis that is stored last."""
    x = b.unflattened(b.value(node.args[0]))
    axis = int(b.arguments(node)["dim"]) % len(x.shape)
    if axis != x.order[-1]:
        x = b.stored_as(x, (*(d for d in plain(len(x.shape)) if d != axis), axis))
    b.emit(node, Softmax, (x.name,), x.order)


_ONE_VALUE = (
    aten.hardsigmoid.default,
    aten.silu.default,
    aten.gelu.default,
    aten.elu.default,
    aten.selu.default,
    aten.celu.default,
    aten.mish.default,
    aten.softplus.default,
    aten.log_sigmoid.default,
    aten.abs.default,
    aten.neg.default,
    aten.exp.default,
    aten.sqrt.default,
    aten.square.default,
    aten.pow.Tensor_Scalar,
    aten.rsub.Scalar,
    aten.div.Tensor,
    aten.erf.default,
    aten.expm1.default,
    aten.log.default,
    aten.reciprocal.default,
    aten.rsqrt.default,
    aten.threshold.default,
    aten.sin.default,
    aten.cos.default,
)
_TABLE, _CLAMP = Row(table), Row(clamp)

TABLE: dict[Any, Row] = {
    aten.add.Tensor: Row(_binary(Add), fuses=True, constants=True),
    aten.sub.Tensor: Row(_binary(Sub), fuses=True, constants=True),
    aten.mul.Tensor: Row(_binary(Mul), fuses=True, constants=True),
    aten.maximum.default: Row(_binary(Maximum, same_quant=True), output="joined", constants=True),
    aten.minimum.default: Row(_binary(Minimum, same_quant=True), output="joined", constants=True),
    aten.prelu.default: Row(prelu, constants=True),
    aten.relu.default: _CLAMP,
    aten.relu6.default: _CLAMP,
    aten.hardtanh.default: _CLAMP,
    aten.clamp.default: _CLAMP,
    aten.clamp_min.default: _CLAMP,
    aten.clamp_max.default: _TABLE,
    aten.leaky_relu.default: Row(_unary(LeakyRelu, alpha="negative_slope")),
    aten.hardswish.default: Row(_unary(HardSwish)),
    aten.sigmoid.default: Row(_unary(Logistic), output="unit"),
    aten.tanh.default: Row(_unary(Tanh), output="tanh"),
    aten.softmax.int: Row(softmax, output="unit"),
    **dict.fromkeys(_ONE_VALUE, _TABLE),
}
