"""Layers with weights, and pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.fx import Node

from pipeline.importers.layout import Axes, channels_last, plain
from pipeline.importers.torch.calls import aten
from pipeline.importers.torch.row import Row
from pipeline.ops._window import Pads, Pair, same_pads
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.mean import Mean
from pipeline.ops.pad import Pad
from pipeline.ops.transpose_conv import TransposeConv

if TYPE_CHECKING:
    from pipeline.importers.torch.builder import Builder


def _pair(value: Any, default: Any = None) -> Pair:
    """torch's int lists: one entry stands for both axes; an empty list for `default`."""
    items = list(value) if isinstance(value, list | tuple) else [value]
    return (int(items[0]), int(items[-1])) if items else _pair(default)


def _row(value: Any, default: Any = None, *, other: int = 1) -> Pair:
    """The same for one-dimensional operators, which become two-dimensional ones of height 1."""
    return (other, _pair(value, default)[1])


def emit_image(b: Builder, node: Node, cls: Any, inputs: tuple[str, ...], **attributes: Any) -> None:
    """The result of an operator on (1, H, W, C), as torch's rank has it."""
    _, channels, *space = b.shape(node)
    size = (*space,) if len(space) == 2 else (1, *space)
    b.emit(node, cls, inputs, channels_last(len(space) + 2), shape=(1, *size, channels), **attributes)


def conv(b: Builder, node: Node) -> None:
    """1-D and 2-D convolution: weights OIHW -> OHWI, or 1HWC when every group is one channel."""
    a = b.arguments(node)
    source = b.value(a["input"])
    x, size = b.image(source)
    w, scales = b.weight(a["weight"])
    flat = w.ndim == 3
    w = w[:, :, None, :] if flat else w
    pair = _row if flat else _pair
    stride, dilation, kernel = pair(a["stride"]), pair(a["dilation"]), (w.shape[2], w.shape[3])
    padding = (
        a["padding"] if isinstance(a["padding"], str) else (_row(a["padding"], other=0) if flat else _pair(a["padding"]))
    )
    attributes = {"stride": stride, "dilation": dilation, "pads": _pads(padding, size, kernel, dilation)}
    if 1 < int(a["groups"]) == source.shape[1]:
        names = b.add_weights(node, source, w.transpose(1, 2, 3, 0), scales, a["bias"], 3)
        emit_image(b, node, DepthwiseConv2d, (x, *names), **attributes)
    else:
        names = b.add_weights(node, source, w.transpose(0, 2, 3, 1), scales, a["bias"], 0)
        emit_image(b, node, Conv2d, (x, *names), **attributes)


def _pads(padding: str | Pair, size: Pair, kernel: Pair, dilation: Pair) -> Pads:
    if padding == "same":  # torch allows it for stride 1 only, and puts the odd pixel at the end as TensorFlow does
        return same_pads(size, kernel, (1, 1), dilation)
    top, left = (0, 0) if isinstance(padding, str) else padding
    return (top, top, left, left)


def conv_transpose(b: Builder, node: Node) -> None:
    """Weights IOHW -> OHWI; torch's padding is the crop, its output padding shows in the output's size."""
    a = b.arguments(node)
    if int(a["groups"]) != 1 or set(a["dilation"]) != {1}:
        raise b.fail(
            node,
            "a transposed convolution has an int8 form with groups=1 and dilation=1 only; else upsample (nearest) and use a "
            "convolution",
        )
    source = b.value(a["input"])
    x, _ = b.image(source)
    w, scales = b.weight(a["weight"])
    flat = w.ndim == 3
    w = (w[:, :, None, :] if flat else w).transpose(1, 2, 3, 0)
    names = b.add_weights(node, source, w, scales, a["bias"], 0)
    crop = _row(a["padding"], other=0) if flat else _pair(a["padding"])
    emit_image(b, node, TransposeConv, (x, *names), stride=_row(a["stride"]) if flat else _pair(a["stride"]), crop=crop)


def linear(b: Builder, node: Node) -> None:
    """Over the last axis. An image flattened from NHWC is met by weights in that order."""
    a = b.arguments(node)
    x = b.value(a["input"])
    w, scales = b.weight(a["weight"])
    order = plain(len(x.shape))
    if x.flat is not None:
        w = w[:, x.columns]
    else:
        x = b.stored_as(x, order)
    names = b.add_weights(node, x, w, scales, a["bias"], 0)
    b.emit(node, FullyConnected, (x.name, *names), order)


def max_pool(b: Builder, node: Node) -> None:
    dilation = b.arguments(node)["dilation"]
    if _pair(dilation) != (1, 1):
        raise b.fail(node, f"max pooling with dilation {dilation} has no int8 form; use dilation 1")
    _pool(b, node, MaxPool2d)


def avg_pool(b: Builder, node: Node) -> None:
    if b.arguments(node).get("divisor_override") is not None:
        raise b.fail(node, "average pooling with a divisor of its own has no int8 form")
    _pool(b, node, AveragePool2d)


def _pool(b: Builder, node: Node, cls: Any) -> None:
    a = b.arguments(node)
    flat = len(b.shape(node)) == 3
    kernel = _row(a["kernel_size"]) if flat else _pair(a["kernel_size"])
    stride = _row(a["stride"], a["kernel_size"]) if flat else _pair(a["stride"], a["kernel_size"])
    padding = _row(a["padding"], other=0) if flat else _pair(a["padding"])
    source = b.value(a["self"])
    x, size = b.image(source)
    if any(padding) and a.get("count_include_pad"):  # zeros that count are part of the image
        widths = ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))
        size = (size[0] + 2 * padding[0], size[1] + 2 * padding[1])
        x = b.write(Pad, (x,), (1, *size, source.shape[1]), b.quant(node), f"{b.label(node)}.padded", widths=widths)
        padding = (0, 0)
    _emit_pool(b, node, cls, x, size, kernel, stride, padding)


def _emit_pool(b: Builder, node: Node, cls: Any, x: str, size: Pair, kernel: Pair, stride: Pair, padding: Pair) -> None:
    space = b.shape(node)[2:]
    out = (space[0], space[1]) if len(space) == 2 else (1, space[0])
    ends = [  # ceil_mode reads past the end: as padding
        max(padding[i], (out[i] - 1) * stride[i] + kernel[i] - padding[i] - size[i]) for i in (0, 1)
    ]
    pads = (padding[0], ends[0], padding[1], ends[1])
    emit_image(b, node, cls, (x,), kernel=kernel, stride=stride, pads=pads)


def adaptive_avg_pool(b: Builder, node: Node) -> None:
    _adaptive(b, node, AveragePool2d, node.args[0])


def adaptive_max_pool(b: Builder, node: Node) -> None:
    """The values of (values, indexes)."""
    pool = node.args[0]
    assert isinstance(pool, Node)
    _adaptive(b, node, MaxPool2d, pool.args[0])


def _adaptive(b: Builder, node: Node, cls: Any, source: Any) -> None:
    size, wanted = b.value(source).shape[2:], b.shape(node)[2:]
    if any(s % w for s, w in zip(size, wanted, strict=True)):
        raise b.fail(
            node,
            f"adaptive pooling of {size} to {wanted} has windows of different sizes; pool to a size that divides {size}",
        )
    windows = [s // w for s, w in zip(size, wanted, strict=True)]
    kernel = (windows[0], windows[1]) if len(windows) == 2 else (1, windows[0])
    x, whole = b.image(b.value(source))
    _emit_pool(b, node, cls, x, whole, kernel, kernel, (0, 0))


def amax(b: Builder, node: Node) -> None:
    """The maximum over all of an image's space."""
    a = b.arguments(node)
    x = b.value(a["self"])
    rank = len(x.shape)
    if rank not in (3, 4) or {int(d) % rank for d in a["dim"]} != set(range(2, rank)):
        raise b.fail(node, f"a maximum over {a['dim']} has an int8 form over height and width only")
    source, size = b.image(x)
    rest = (1,) * (rank - 2) if a["keepdim"] else ()
    order = channels_last(rank) if a["keepdim"] else plain(2)
    assert b.shape(node) == (1, x.shape[1], *rest)
    b.emit(node, MaxPool2d, (source,), order, shape=(1, 1, 1, x.shape[1]), kernel=size, stride=size)


def mean(b: Builder, node: Node) -> None:
    a = b.arguments(node)
    x = b.value(a["self"])
    x = x if x.flat is None else b.unflattened(x)
    rank = len(x.shape)
    axes = {int(d) % rank for d in (a["dim"] or range(rank))}
    if 0 in axes:
        raise b.fail(node, "a mean over the batch has no meaning for one inference")
    stored = tuple(i for i, d in enumerate(x.order) if d in axes)
    kept = [d for d in range(rank) if d not in axes]
    order: Axes = x.order if a["keepdim"] else tuple(kept.index(d) for d in x.order if d in kept)
    b.emit(node, Mean, (x.name,), order, axes=stored)


def parts(b: Builder, node: Node) -> None:
    """An operator with several results: each `getitem` asks for its own."""


_CONV = Row(conv, weight=1, fuses=True)
_TRANSPOSED = Row(conv_transpose, weight=1, channel_axis=1, fuses=True)
_MAX_POOL, _AVG_POOL = Row(max_pool, output="shared"), Row(avg_pool, output="shared")
_ADAPTIVE = Row(adaptive_avg_pool, output="shared")
_PARTS = Row(parts, output="none")

TABLE: dict[Any, Row] = {
    aten.conv1d.default: _CONV,
    aten.conv1d.padding: _CONV,
    aten.conv2d.default: _CONV,
    aten.conv2d.padding: _CONV,
    aten.conv_transpose1d.default: _TRANSPOSED,
    aten.conv_transpose2d.input: _TRANSPOSED,
    aten.linear.default: Row(linear, weight=1, fuses=True),
    aten.max_pool1d.default: _MAX_POOL,
    aten.max_pool2d.default: _MAX_POOL,
    aten.avg_pool1d.default: _AVG_POOL,
    aten.avg_pool2d.default: _AVG_POOL,
    aten.adaptive_avg_pool1d.default: _ADAPTIVE,
    aten.adaptive_avg_pool2d.default: _ADAPTIVE,
    aten.adaptive_max_pool1d.default: _PARTS,
    aten.adaptive_max_pool2d.default: _PARTS,
    aten.amax.default: Row(amax, output="shared"),
    aten.mean.dim: Row(mean),
}

PART_READERS = {aten.adaptive_max_pool1d.default: adaptive_max_pool, aten.adaptive_max_pool2d.default: adaptive_max_pool}
"""What a `getitem` on such a result becomes."""
