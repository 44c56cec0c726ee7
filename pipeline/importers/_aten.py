"""What each ATen operator becomes: one function each, in TABLE by its overload. A new operator is a function and a row."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.fx import Node

from pipeline.errors import GraphError
from pipeline.ops._activation import Activation
from pipeline.ops._window import Pads, Pair, same_pads
from pipeline.ops.add import Add
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.mean import Mean
from pipeline.ops.pad import Pad
from pipeline.ops.relu import Relu
from pipeline.ops.relu6 import Relu6
from pipeline.ops.reshape import Reshape
from pipeline.ops.softmax import Softmax

if TYPE_CHECKING:
    from pipeline.importers.torch_export import Importer, Value

aten = torch.ops.aten

Output = Literal["own", "shared", "unit"]
"""How a result is quantised: by its own range; as the first input; over 0..1 with scale 1/256."""


@dataclass(frozen=True, slots=True)
class Row:
    """`weight`: the argument that holds per-channel weights, and the axis of the output channels. `fuses`: a relu that alone
    reads the result becomes a clamp in the operator."""

    lower: Callable[[Importer, Node], None]
    output: Output = "own"
    weight: int | None = None
    channel_axis: int = 0
    fuses: bool = False


def channels_last(rank: int) -> tuple[int, ...]:
    """Batch, space, channels."""
    return (0, *range(2, rank), 1)


def activation_of(node: Node) -> Activation | None:
    """The clamp that a call is, if it is one."""
    if node.op != "call_function":
        return None
    if node.target is aten.relu.default:
        return "relu"
    if node.target in (aten.relu6.default, aten.hardtanh.default, aten.clamp.default):
        default = (-1.0, 1.0) if node.target is aten.hardtanh.default else (None, None)
        bounds = (0.0, 6.0) if node.target is aten.relu6.default else (*node.args[1:], *default[len(node.args) - 1 :])
        return _CLAMPS.get(bounds)
    return None


_CLAMPS: dict[Any, Activation] = {(0.0, 6.0): "relu6", (-1.0, 1.0): "relu_n1_to_1", (0.0, None): "relu"}


def _pair(value: Any, default: Any = None) -> Pair:
    """torch's int lists: one entry stands for both axes; an empty list for `default`."""
    items = list(value) if isinstance(value, list | tuple) else [value]
    if not items:
        return _pair(default)
    return (int(items[0]), int(items[-1]))


def conv2d(b: Importer, node: Node) -> None:
    """Also a transposed or one-dimensional one's core: weights OIHW -> OHWI, or 1HWC when every group is one channel."""
    a = b.arguments(node)
    x = b.stored_as(b.value(a["input"]), (0, 2, 3, 1), b.label(node))
    w, scales, axis = b.weight(a["weight"], node)
    assert axis == 0
    groups, stride, dilation = int(a["groups"]), _pair(a["stride"]), _pair(a["dilation"])
    size, kernel = (x.shape[2], x.shape[3]), (w.shape[2], w.shape[3])
    pads = _conv_pads(a["padding"], size, kernel, dilation)
    attributes = {"stride": stride, "dilation": dilation, "pads": pads}
    if 1 < groups == x.shape[1]:
        names = b.add_weights(node, x, w.transpose(1, 2, 3, 0), scales, a["bias"], 3)
        b.emit(node, DepthwiseConv2d, (x.name, *names), (0, 2, 3, 1), **attributes)
    else:
        names = b.add_weights(node, x, w.transpose(0, 2, 3, 1), scales, a["bias"], 0)
        b.emit(node, Conv2d, (x.name, *names), (0, 2, 3, 1), **attributes)


def _conv_pads(padding: Any, size: Pair, kernel: Pair, dilation: Pair) -> Pads:
    if padding == "same":  # torch allows it for stride 1 only, and puts the odd pixel at the end as well
        return same_pads(size, kernel, (1, 1), dilation)
    top, left = (0, 0) if padding == "valid" else _pair(padding)
    return (top, top, left, left)


def conv1d(b: Importer, node: Node) -> None:
    """A convolution of height 1."""
    a = b.arguments(node)
    x = b.stored_as(b.value(a["input"]), (0, 2, 1), b.label(node))
    w, scales, _ = b.weight(a["weight"], node)
    stride, dilation = int(_pair(a["stride"])[0]), int(_pair(a["dilation"])[0])
    length, kernel = x.shape[2], w.shape[2]
    pads = _conv_pads(
        a["padding"] if isinstance(a["padding"], str) else (0, _pair(a["padding"])[0]),
        (1, length),
        (1, kernel),
        (1, dilation),
    )
    wide = b.reshaped(x.name, (1, 1, length, x.shape[1]), f"{x.name}.wide")
    attributes = {"stride": (1, stride), "dilation": (1, dilation), "pads": pads}
    _, channels, out = b.shape(node)
    deep = w[:, :, None, :]
    if 1 < int(a["groups"]) == x.shape[1]:
        names = b.add_weights(node, x, deep.transpose(1, 2, 3, 0), scales, a["bias"], 3)
        cls: Any = DepthwiseConv2d
    else:
        names = b.add_weights(node, x, deep.transpose(0, 2, 3, 1), scales, a["bias"], 0)
        cls = Conv2d
    b.emit(node, cls, (wide, *names), (0, 2, 1), shape=(1, 1, out, channels), **attributes)


def linear(b: Importer, node: Node) -> None:
    a = b.arguments(node)
    x = b.value(a["input"])
    w, scales, _ = b.weight(a["weight"], node)
    if x.columns is not None:
        w = w[:, list(x.columns)]  # the image was flattened from NHWC, the weights expect NCHW
    else:
        x = b.stored_as(x, tuple(range(len(x.shape))), b.label(node))
    names = b.add_weights(node, x, w, scales, a["bias"], 0)
    b.emit(node, FullyConnected, (x.name, *names), tuple(range(len(x.shape))))


def add(b: Importer, node: Node) -> None:
    a = b.arguments(node)
    if a["alpha"] != 1:
        raise GraphError(f"{b.label(node)}: add with alpha = {a['alpha']} has no int8 form; multiply first")
    x, y = _aligned(b, node, a["self"], a["other"])
    b.emit(node, Add, (x.name, y.name), x.order, x.columns)


def _aligned(b: Importer, node: Node, left: Any, right: Any) -> tuple[Value, Value]:
    """Both operands stored in the same order."""
    x, y = b.value(left), b.value(right)
    if x.columns != y.columns or len(x.shape) != len(y.shape):
        raise GraphError(f"{b.label(node)}: {x.shape} and {y.shape} do not line up; use operands of the same shape")
    return x, (y if x.columns is not None else b.stored_as(y, x.order, b.label(node)))


def max_pool2d(b: Importer, node: Node) -> None:
    a = b.arguments(node)
    if _pair(a["dilation"]) != (1, 1):
        raise GraphError(f"{b.label(node)}: max pooling with dilation {a['dilation']} has no int8 form; use dilation 1")
    _pool(b, node, MaxPool2d, a["self"], _pair(a["kernel_size"]), _pair(a["stride"], a["kernel_size"]), _pair(a["padding"]))


def avg_pool2d(b: Importer, node: Node) -> None:
    a = b.arguments(node)
    kernel, padding = _pair(a["kernel_size"]), _pair(a["padding"])
    if a["divisor_override"] is not None or (padding != (0, 0) and a["count_include_pad"]):
        raise GraphError(
            f"{b.label(node)}: average pooling that counts padding, or with its own divisor, has no int8 form; use "
            "count_include_pad=False"
        )
    _pool(b, node, AveragePool2d, a["self"], kernel, _pair(a["stride"], kernel), padding)


def adaptive_avg_pool2d(b: Importer, node: Node) -> None:
    a = b.arguments(node)
    size, wanted = b.shape(a["self"])[2:], b.shape(node)[2:]
    if size[0] % wanted[0] or size[1] % wanted[1]:
        raise GraphError(f"{b.label(node)}: adaptive pooling of {size} to {wanted} has windows of different sizes")
    kernel = (size[0] // wanted[0], size[1] // wanted[1])
    _pool(b, node, AveragePool2d, a["self"], kernel, kernel, (0, 0))


def _pool(b: Importer, node: Node, cls: Any, source: Any, kernel: Pair, stride: Pair, padding: Pair) -> None:
    x = b.stored_as(b.value(source), (0, 2, 3, 1), b.label(node))
    ends = []
    for size, k, s, p, out in zip(x.shape[2:], kernel, stride, padding, b.shape(node)[2:], strict=True):
        ends.append(max(p, (out - 1) * s + k - p - size))  # ceil_mode reads past the end: as padding
    pads = (padding[0], ends[0], padding[1], ends[1])
    b.emit(node, cls, (x.name,), (0, 2, 3, 1), kernel=kernel, stride=stride, pads=pads)


def mean(b: Importer, node: Node) -> None:
    a = b.arguments(node)
    x = b.value(a["self"])
    if x.columns is not None:
        x = b.stored_as(x, (0, 1), b.label(node))
    rank = len(x.shape)
    axes = {int(d) % rank for d in (a["dim"] if a["dim"] is not None else range(rank))}
    if 0 in axes:
        raise GraphError(f"{b.label(node)}: a mean over the batch has no meaning for one inference")
    stored_axes = tuple(i for i, d in enumerate(x.order) if d in axes)
    if a["keepdim"]:
        order = x.order
    else:
        kept = [d for d in range(rank) if d not in axes]
        order = tuple(kept.index(d) for d in x.order if d in kept)
    b.emit(node, Mean, (x.name,), order, axes=stored_axes)


def relu(b: Importer, node: Node) -> None:
    """One that no operator before it takes in."""
    kind = activation_of(node)
    cls: Any = {"relu": Relu, "relu6": Relu6}.get(str(kind))
    if cls is None:
        raise GraphError(
            f"{b.label(node)}: a clamp to {node.args[1:]} has an int8 form only behind a convolution or linear layer"
        )
    x = b.value(node.args[0])
    b.emit(node, cls, (x.name,), x.order, x.columns)


def softmax(b: Importer, node: Node) -> None:
    a = b.arguments(node)
    x = b.value(a["self"])
    if int(a["dim"]) % len(x.shape) != x.order[-1] or x.columns is not None:
        last = [d for d in range(len(x.shape)) if d != int(a["dim"]) % len(x.shape)]
        x = b.stored_as(x, (*last, int(a["dim"]) % len(x.shape)), b.label(node))
    b.emit(node, Softmax, (x.name,), x.order)


def pad(b: Importer, node: Node) -> None:
    a = b.arguments(node)
    x = b.value(a["self"])
    if a.get("mode", "constant") != "constant" or x.columns is not None:
        raise GraphError(f"{b.label(node)}: padding mode {a.get('mode')!r} has no int8 form; use zeros")
    widths = [(0, 0)] * len(x.shape)
    for i in range(len(a["pad"]) // 2):  # torch lists the last axis first
        widths[-1 - i] = (int(a["pad"][2 * i]), int(a["pad"][2 * i + 1]))
    quant = b.quant(node)
    fill = None if not a["value"] else int(np.clip(round(a["value"] / quant.scale[0]) + quant.zero_point, -128, 127))
    b.emit(node, Pad, (x.name,), x.order, widths=tuple(widths[d] for d in x.order), value=fill)


def view(b: Importer, node: Node) -> None:
    """A reshape. Free when the stored bytes are already in the new shape's order; a flattened image stays channels-last and
    says so; else the axes are moved into torch's order first."""
    x = b.value(node.args[0])
    shape = b.shape(node)
    if x.columns is None:
        ranks = tuple(range(len(shape)))
        stored = np.arange(int(np.prod(x.shape))).reshape(x.shape).transpose(x.order).reshape(-1)
        for order in dict.fromkeys((ranks, channels_last(len(shape)) if len(shape) > 2 else ranks)):
            if np.array_equal(np.arange(stored.size).reshape(shape).transpose(order).reshape(-1), stored):
                b.emit(node, Reshape, (x.name,), order)
                return
        if len(shape) == 2:
            b.emit(node, Reshape, (x.name,), ranks, columns=tuple(int(i) for i in stored))
            return
    x = b.stored_as(x, tuple(range(len(x.shape))), b.label(node))
    b.emit(node, Reshape, (x.name,), tuple(range(len(shape))))


def transposed(b: Importer, value: Value, order: tuple[int, ...], label: str) -> Value:
    """`value` moved into another order of its axes."""
    raise GraphError(
        f"{label}: would have to transpose {value.shape}, which has no int8 form yet; keep images NCHW in forward"
    )


_CONV = Row(conv2d, weight=1, fuses=True)
_CONV1D = Row(conv1d, weight=1, fuses=True)
_VIEW = Row(view, output="shared")

TABLE: dict[Any, Row] = {
    aten.conv2d.default: _CONV,
    aten.conv2d.padding: _CONV,
    aten.conv1d.default: _CONV1D,
    aten.conv1d.padding: _CONV1D,
    aten.linear.default: Row(linear, weight=1, fuses=True),
    aten.add.Tensor: Row(add, fuses=True),
    aten.max_pool2d.default: Row(max_pool2d, output="shared"),
    aten.avg_pool2d.default: Row(avg_pool2d, output="shared"),
    aten.adaptive_avg_pool2d.default: Row(adaptive_avg_pool2d, output="shared"),
    aten.mean.dim: Row(mean),
    aten.relu.default: Row(relu),
    aten.relu6.default: Row(relu),
    aten.hardtanh.default: Row(relu),
    aten.clamp.default: Row(relu),
    aten.softmax.int: Row(softmax, output="unit"),
    aten.pad.default: Row(pad, output="shared"),
    aten.reshape.default: _VIEW,
    aten.squeeze.dim: _VIEW,
    aten.squeeze.dims: _VIEW,
    aten.squeeze.default: _VIEW,
    aten.unsqueeze.default: _VIEW,
}

_HINTS = {
    "lstm": "recurrent; use convolutions over time",
    "gru": "recurrent; use convolutions over time",
    "rnn_tanh": "recurrent; use convolutions over time",
    "scaled_dot_product_attention": "attention; use convolutions or pooling",
    "layer_norm": "use batch norm",
    "group_norm": "use batch norm",
    "instance_norm": "use batch norm",
}


def is_size(node: Node) -> bool:
    """Arithmetic on sizes, which shapes have answered, and picking from a tuple."""
    known = (aten.sym_size.int, operator.getitem, operator.mul, operator.add, operator.floordiv, operator.sub)
    return node.target in known and not isinstance(node.meta.get("val"), torch.Tensor)


def is_known(node: Node) -> bool:
    return node.target in TABLE or is_size(node)


def describe(node: Node) -> str:
    """`lstm (recurrent; use convolutions over time)`."""
    name = getattr(node.target, "overloadpacket", node.target)
    short = str(getattr(name, "__name__", name)).removeprefix("aten.")
    return f"{short} ({_HINTS[short]})" if short in _HINTS else short


def names() -> list[str]:
    """The operators that have an int8 form, as torch calls them."""
    return sorted({"batch_norm", "dropout"} | {str(k.overloadpacket.__name__) for k in TABLE})
