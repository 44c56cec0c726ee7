"""TFLite builtins that move values without computing: concatenation, slices, transposes, pads, shapes."""

from __future__ import annotations

import numpy as np

from pipeline.importers.tflite_node import Node
from pipeline.ir import Op
from pipeline.ops.concatenation import Concatenation
from pipeline.ops.pad import Pad
from pipeline.ops.reshape import Reshape
from pipeline.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from pipeline.ops.slice import Slice
from pipeline.ops.split import Split
from pipeline.ops.strided_slice import StridedSlice
from pipeline.ops.transpose import Transpose

MAX_COPIES = 64
MASKS = ("Begin", "End", "ShrinkAxis", "Ellipsis", "NewAxis")


def concatenation(n: Node) -> tuple[Op, ...]:
    o = n.options("ConcatenationOptions")
    if n.activation(o) != "none":
        raise n.fail("a fused activation on a concatenation has no int8 form")
    inputs = n.names(*range(len(n.inputs)))
    return (Concatenation(inputs=inputs, outputs=n.outputs, axis=n.axis(o.integer("Axis"), len(n.x().shape))),)


def pad(n: Node) -> tuple[Op, ...]:
    widths = n.constant(1, "the padding widths")
    if widths.shape != (len(n.x().shape), 2):
        raise n.fail(f"padding widths of shape {widths.shape} do not fit the input's shape {n.x().shape}")
    value = None
    if n.operator.builtin == "PADV2":
        fill = n.constant(2, "the fill value")
        if fill.size != 1 or n.x(2).dtype != "int8" or n.x(2).quant != n.x().quant:
            raise n.fail(f"the fill value {n.name(2)!r} must be one int8 value, quantised as the input is")
        value = int(fill.reshape(-1)[0])
    pairs = tuple((int(before), int(after)) for before, after in widths)
    return (Pad(inputs=n.names(0), outputs=n.outputs, widths=pairs, value=value),)


def reshape(n: Node) -> tuple[Op, ...]:
    """The target shape may come as tensor, as option, or not at all: the output's own shape says it."""
    return (Reshape(inputs=n.names(0), outputs=n.outputs),)


def resize_nearest_neighbor(n: Node) -> tuple[Op, ...]:
    o = n.options("ResizeNearestNeighborOptions")
    n.expect(n.constant(1, "the size").reshape(-1)[:8].tolist(), n.y(4).shape[1:3], "size")
    corners, centers = bool(o["AlignCorners"]), bool(o["HalfPixelCenters"])
    return (ResizeNearestNeighbor(inputs=n.names(0), outputs=n.outputs, align_corners=corners, half_pixel_centers=centers),)


def slice_(n: Node) -> tuple[Op, ...]:
    """How much comes is said by the output's shape and by the size, which may be -1 for "the rest"."""
    begin = tuple(int(b) for b in n.constant(1, "the begin").reshape(-1)[:8])
    sizes, shape = n.constant(2, "the size").reshape(-1)[:8].tolist(), n.x().shape
    if not len(begin) == len(sizes) == len(shape):
        raise n.fail(f"begin {begin} and size {sizes} need one index for each axis of {shape}")
    n.expect(
        [s - b if k == -1 else k for b, k, s in zip(begin, sizes, shape, strict=True)], n.tensors[n.outputs[0]].shape, "size"
    )
    return (Slice(inputs=n.names(0), outputs=n.outputs, begin=begin),)


def split(n: Node) -> tuple[Op, ...]:
    """SPLIT has the axis before the tensor, SPLIT_V the tensor, the sizes, the axis. The outputs' shapes say the sizes."""
    x, axis = (1, 0) if n.operator.builtin == "SPLIT" else (0, 2)
    values = n.axes(axis, len(n.x(x).shape))
    if len(values) != 1:
        raise n.fail(f"it needs one axis, got {values}")
    if x == 0:
        sizes, whole = n.constant(1, "the sizes").reshape(-1).tolist(), n.x().shape[values[0]]
        rest = whole - sum(s for s in sizes if s != -1)
        declared = [n.tensors[name].shape[values[0]] for name in n.outputs if len(n.tensors[name].shape) > values[0]]
        n.expect([rest if s == -1 else s for s in sizes], declared, "sizes")
    return (Split(inputs=n.names(x), outputs=n.outputs, axis=values[0]),)


def strided_slice(n: Node) -> tuple[Op, ...]:
    """With Python's own rules for negative and missing bounds, which are TFLite's."""
    o = n.options("StridedSliceOptions")
    mask = {m: o.integer(f"{m}Mask") for m in MASKS}
    if mask["Ellipsis"] or mask["NewAxis"] or o["Offset"]:
        raise n.fail("ellipsis, new-axis and offset slices are not supported; write the begin and end of every axis")
    begin, end, strides = (n.constant(i, "its range").reshape(-1) for i in (1, 2, 3))
    shape = n.x().shape
    if not len(begin) == len(end) == len(strides) <= len(shape):
        raise n.fail(f"{len(begin)} begins, {len(end)} ends and {len(strides)} strides do not fit the input {shape}")
    ranges = [(0, size, 1) for size in shape]
    for i, bounds in enumerate(zip(begin.tolist(), end.tolist(), strides.tolist(), strict=True)):
        ranges[i] = _range(n, shape[i], bounds, *(bool(mask[m] >> i & 1) for m in MASKS[:3]))
    shrink = tuple(i for i in range(len(begin)) if mask["ShrinkAxis"] >> i & 1)
    starts, stops, steps = zip(*ranges, strict=True) if ranges else ((), (), ())
    return (StridedSlice(inputs=n.names(0), outputs=n.outputs, begin=starts, end=stops, strides=steps, shrink=shrink),)


def _range(
    n: Node, size: int, bounds: tuple[int, int, int], open_begin: bool, open_end: bool, shrink: bool
) -> tuple[int, int, int]:
    """(begin, end, stride) of one axis, counted from the front."""
    begin, end, stride = bounds
    if stride == 0:
        raise n.fail("a stride of a slice is 0")
    if shrink:
        if stride < 0:
            raise n.fail(f"an axis that is dropped has the stride {stride}; it must be positive")
        # As StridedSliceStartForAxis in TFLite's strided_slice_logic.h: an open begin is 0 whatever the begin says.
        at = 0 if open_begin else min(max(begin + size if begin < 0 else begin, 0), size)
        return at, at + 1, 1
    return slice(None if open_begin else begin, None if open_end else end, stride).indices(size)


def tile(n: Node) -> tuple[Op, ...]:
    """Copies along one axis, one after the other: what Keras's nearest upsampling comes as."""
    multiples = [int(m) for m in n.constant(1, "the multiples").reshape(-1)[:8]]
    repeated = [i for i, m in enumerate(multiples) if m != 1]
    if len(multiples) != len(n.x().shape) or len(repeated) > 1 or not all(1 <= m <= MAX_COPIES for m in multiples):
        raise n.fail(
            f"multiples {multiples} for the input {n.x().shape}; only one axis, up to {MAX_COPIES} times, can be repeated"
        )
    if not repeated:
        return reshape(n)
    (axis,) = repeated
    return (Concatenation(inputs=n.names(0) * multiples[axis], outputs=n.outputs, axis=axis),)


def transpose(n: Node) -> tuple[Op, ...]:
    permutation = np.asarray(n.constant(1, "the permutation")).reshape(-1)[:8]
    return (Transpose(inputs=n.names(0), outputs=n.outputs, permutation=tuple(int(i) for i in permutation)),)
