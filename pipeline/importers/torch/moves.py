"""Operators that move values and compute nothing: reshapes, slices, joins, padding, nearest upsampling."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch.fx import Node

from pipeline.importers.layout import Axes, plain
from pipeline.importers.torch import layers
from pipeline.importers.torch.calls import aten
from pipeline.importers.torch.row import Row
from pipeline.ops.concatenation import Concatenation
from pipeline.ops.pad import Pad
from pipeline.ops.resize_nearest_neighbor import ResizeNearestNeighbor

if TYPE_CHECKING:
    from pipeline.importers.stored import Value
    from pipeline.importers.torch.builder import Builder


def view(b: Builder, node: Node) -> None:
    """A reshape. An image that is flattened for linear layers stays as it is stored: their weights are put in its order."""
    x, shape = b.value(node.args[0]), b.shape(node)
    if b.stays_flat(x, shape) and _feeds_linear(node):
        b.alias(node, b.flattened(x, shape, b.label(node)))
    else:
        b.alias(node, x if x.shape == shape else b.reshape(x, shape))


def _feeds_linear(node: Node) -> bool:
    """Whether all that reads a value, through quantisation and operators that work value by value, is linear layers."""
    from pipeline.importers.torch.math import TABLE as MATH

    transparent = {op for op in MATH if op not in (aten.prelu.default, aten.softmax.int)}
    readers = _readers(node)
    return bool(readers) and all(
        user.target is aten.linear.default or (user.target in transparent and _feeds_linear(user)) for user in readers
    )


def permute(b: Builder, node: Node) -> None:
    """Free: the same bytes, under other torch axes."""
    x = b.unflattened(b.value(node.args[0]))
    rank = len(x.shape)
    if node.target is aten.transpose.int:
        axes = list(plain(rank))
        i, j = (int(cast(int, d)) % rank for d in node.args[1:3])
        axes[i], axes[j] = axes[j], axes[i]
    elif node.target is aten.t.default:
        axes = [1, 0]
    else:
        axes = [int(d) % rank for d in cast(list[int], node.args[1])]
    b.alias(node, x.permuted(axes))


def pixel_shuffle(b: Builder, node: Node) -> None:
    b.alias(node, b.pixel_shuffled(b.value(node.args[0]), int(cast(int, node.args[1]))))


def pixel_unshuffle(b: Builder, node: Node) -> None:
    x, r = b.value(node.args[0]), int(cast(int, node.args[1]))
    _, c, h, w = x.shape
    gathered = b.reshape(x, (1, c, h // r, r, w // r, r)).permuted((0, 1, 3, 5, 2, 4))
    b.alias(node, b.reshape(gathered, (1, c * r**2, h // r, w // r)))


def channel_shuffle(b: Builder, node: Node) -> None:
    x, groups = b.value(node.args[0]), int(cast(int, node.args[1]))
    _, c, *space = x.shape
    split = b.reshape(x, (1, groups, c // groups, *space)).permuted((0, 2, 1, *range(3, len(space) + 3)))
    b.alias(node, b.reshape(split, x.shape))


def slice_(b: Builder, node: Node) -> None:
    a = b.arguments(node)
    x = b.value(a["self"])
    size = x.shape[int(a["dim"]) % len(x.shape)]
    start, end, step = slice(a["start"], a["end"], int(a["step"])).indices(size)
    b.alias(node, _taken(b, node, x, int(a["dim"]), start, end, step))


def select(b: Builder, node: Node) -> None:
    a = b.arguments(node)
    x = b.value(a["self"])
    axis = int(a["dim"]) % len(x.shape)
    index = int(a["index"]) % x.shape[axis]
    b.alias(node, b.reshape(_taken(b, node, x, axis, index, index + 1), b.shape(node)))


def flip(b: Builder, node: Node) -> None:
    x = b.value(node.args[0])
    for axis in cast(list[int], node.args[1]):
        x = _taken(b, node, x, axis, x.shape[axis] - 1, -1, -1)
    b.alias(node, x)


def _taken(b: Builder, node: Node, x: Value, axis: int, start: int, end: int, step: int = 1) -> Value:
    """start:end:step along a torch axis (end -1 with a negative step: to the very first)."""
    x = b.unflattened(x)
    axis %= len(x.shape)
    if (start, end, step) == (0, x.shape[axis], 1):
        return x
    if axis == 0:
        raise b.fail(node, "takes part of the batch, which has no meaning for one inference")
    if not range(start, end, step):
        raise b.fail(node, f"takes nothing from {x.shape}")
    return b.taken(x, axis, start, end, step, b.label(node))


def part(b: Builder, node: Node) -> None:
    """One of an operator's several results."""
    source, index = cast(Node, node.args[0]), int(cast(int, node.args[1]))
    if source.target in layers.PART_READERS:
        layers.PART_READERS[source.target](b, node)
        return
    a = b.arguments(source)
    x = b.value(a["self"])
    axis = int(a["dim"]) % len(x.shape)
    if source.target is aten.unbind.int:
        b.alias(node, b.reshape(_taken(b, node, x, axis, index, index + 1), b.shape(node)))
        return
    sizes = a["split_sizes"] if "split_sizes" in a else [int(a["split_size"])] * (index + 1)
    start = sum(int(s) for s in sizes[:index])
    b.alias(node, _taken(b, node, x, axis, start, start + b.shape(node)[axis]))


def cat(b: Builder, node: Node) -> None:
    a = b.arguments(node)
    values = [b.unflattened(b.value(n)) for n in a["tensors"]]
    if node.target is aten.stack.default:
        rank = len(values[0].shape) + 1
        axis = int(a["dim"]) % rank
        values = [b.reshape(v, (*v.shape[:axis], 1, *v.shape[axis:])) for v in values]
    axis = int(a["dim"]) % len(values[0].shape)
    order = values[0].order
    quant = b.quant(node)
    names = [b.requantised(b.stored_as(v, order), quant).name for v in values]
    b.emit(node, Concatenation, names, order, axis=order.index(axis))


def pad(b: Builder, node: Node) -> None:
    """With a value, or with the image's own ones: reflected, repeated or from the other side."""
    a = b.arguments(node)
    x = b.unflattened(b.value(a["self"]))
    widths = [(0, 0)] * len(x.shape)
    for i in range(len(a["pad"]) // 2):  # torch lists the last axis first
        widths[-1 - i] = (int(a["pad"][2 * i]), int(a["pad"][2 * i + 1]))
    if any(min(w) < 0 for w in widths):
        raise b.fail(node, "negative padding has no int8 form; take a slice")
    if a["mode"] == "constant":
        quant = b.quant(node)
        fill = None if not a["value"] else int(np.clip(round(a["value"] / quant.scale[0]) + quant.zero_point, -128, 127))
        b.emit(node, Pad, (x.name,), x.order, widths=tuple(widths[d] for d in x.order), value=fill)
        return
    for axis, (before, after) in enumerate(widths):
        if before or after:
            x = _extended(b, node, x, axis, before, after, str(a["mode"]))
    b.alias(node, x)


def _extended(b: Builder, node: Node, x: Value, axis: int, before: int, after: int, mode: str) -> Value:
    n = x.shape[axis]

    def taken(start: int, end: int, step: int = 1) -> list[Value]:
        return [_taken(b, node, x, axis, start, end, step)] if start != end else []

    if mode == "reflect":
        values = [*taken(before, 0, -1), x, *taken(n - 2, n - 2 - after, -1)]
    elif mode == "circular":
        values = [*taken(n - before, n), x, *taken(0, after)]
    else:  # replicate
        values = [*(taken(0, 1) if before else []) * before, x, *(taken(n - 1, n) if after else []) * after]
    shape = tuple(before + s + after if d == axis else s for d, s in enumerate(x.shape))
    quant = b.quant_of(x)
    stored: Axes = tuple(shape[d] for d in x.order)
    names = [v.name for v in values]
    return type(x)(b.write(Concatenation, names, stored, quant, b.label(node), axis=x.order.index(axis)), shape, x.order)


def upsample_nearest(b: Builder, node: Node) -> None:
    """Whole factors or any size; "nearest-exact" takes pixel centres."""
    image, _ = b.image(b.value(node.args[0]))
    exact = "exact" in str(node.target)
    layers.emit_image(b, node, ResizeNearestNeighbor, (image,), half_pixel_centers=exact)


def expand(b: Builder, node: Node) -> None:
    """Free where the readers broadcast by themselves."""
    x = b.value(node.args[0])
    if x.shape != b.shape(node) and not all(user.target in _BROADCASTS for user in _readers(node)):
        raise b.fail(node, f"repeating {x.shape} has an int8 form for arithmetic only; use upsampling")
    b.alias(node, x)


def _readers(node: Node) -> list[Node]:
    """What reads a value, looking through its quantisation."""
    found = []
    for user in node.users:
        found += _readers(user) if "quantized_decomposed" in str(user.target) else [user]
    return found


_BROADCASTS = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.maximum.default, aten.minimum.default)
_VIEW, _PERMUTE = Row(view, output="shared"), Row(permute, output="shared")
_UPSAMPLE = Row(upsample_nearest, output="shared")
_PARTS = Row(layers.parts, output="none")

TABLE: dict[Any, Row] = {
    aten.reshape.default: _VIEW,
    aten.squeeze.default: _VIEW,
    aten.squeeze.dim: _VIEW,
    aten.squeeze.dims: _VIEW,
    aten.unsqueeze.default: _VIEW,
    aten.expand.default: Row(expand, output="shared"),
    aten.permute.default: _PERMUTE,
    aten.transpose.int: _PERMUTE,
    aten.t.default: _PERMUTE,
    aten.pixel_shuffle.default: Row(pixel_shuffle, output="shared"),
    aten.pixel_unshuffle.default: Row(pixel_unshuffle, output="shared"),
    aten.channel_shuffle.default: Row(channel_shuffle, output="shared"),
    aten.slice.Tensor: Row(slice_, output="shared"),
    aten.select.int: Row(select, output="shared"),
    aten.flip.default: Row(flip, output="shared"),
    aten.split.Tensor: _PARTS,
    aten.split_with_sizes.default: _PARTS,
    aten.unbind.int: _PARTS,
    operator.getitem: Row(part, output="shared"),
    aten.cat.default: Row(cat, output="joined"),
    aten.stack.default: Row(cat, output="joined"),
    aten.pad.default: Row(pad, output="shared"),
    aten.upsample_nearest1d.vec: _UPSAMPLE,
    aten.upsample_nearest2d.vec: _UPSAMPLE,
    aten._upsample_nearest_exact1d.vec: _UPSAMPLE,
    aten._upsample_nearest_exact2d.vec: _UPSAMPLE,
}
