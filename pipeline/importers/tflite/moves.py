"""TFLite builtins that move values without computing: concatenation, slices, transposes, pads, shapes."""

from __future__ import annotations

import math

import numpy as np

from pipeline.importers.tflite.node import Node
from pipeline.importers.tflite.reader import MAX_OPERANDS
from pipeline.importers.tflite.shapes import strided_ranges
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
    """The target shape may come as tensor, as option, or not at all: the output's own shape then says it."""
    given = len(n.inputs) > 1 and n.inputs[1] is not None and n.x(1).dtype == "int32"
    target = (
        n.constant(1, "the shape").reshape(-1)[:8].tolist() if given else n.options("ReshapeOptions").integers("NewShape")
    )
    if len(target):
        n.expect_shape(_filled(n, tuple(target)), "new shape")
    return _reshaped(n)


def _reshaped(n: Node) -> tuple[Op, ...]:
    return (Reshape(inputs=n.names(0), outputs=n.outputs),)


def _filled(n: Node, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """With the one -1 that may be among them replaced by what the others leave of the input."""
    if sizes.count(-1) > 1:
        raise n.fail(f"its new shape {list(sizes)} leaves several sizes open; only one can be -1")
    known, total = math.prod(s for s in sizes if s != -1), n.x().size
    return tuple(total // known if s == -1 and known > 0 and total % known == 0 else s for s in sizes)


def squeeze(n: Node) -> tuple[Op, ...]:
    shape = n.x().shape
    named = [n.axis(a, len(shape)) for a in n.options("SqueezeOptions").integers("SqueezeDims")]
    dropped = named or [i for i, size in enumerate(shape) if size == 1]
    if any(shape[i] != 1 for i in dropped):
        raise n.fail(f"it drops axes {named} of {shape}; only axes of 1 can be dropped")
    n.expect_shape([size for i, size in enumerate(shape) if i not in dropped], f"shape without axes {dropped} of {shape}")
    return _reshaped(n)


def expand_dims(n: Node) -> tuple[Op, ...]:
    shape = n.x().shape
    (at,) = _one(n, n.axes(1, len(shape) + 1))
    n.expect_shape((*shape[:at], 1, *shape[at:]), f"shape with a new axis {at}")
    return _reshaped(n)


def _one(n: Node, axes: tuple[int, ...]) -> tuple[int, ...]:
    if len(axes) != 1:
        raise n.fail(f"it needs one axis, got {axes}")
    return axes


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
    """SPLIT has the axis before the tensor, SPLIT_V the tensor, the sizes, the axis."""
    even = n.operator.builtin == "SPLIT"
    x, parts = 1 if even else 0, len(n.outputs)
    shape = n.x(x).shape
    (axis,) = _one(n, n.axes(0 if even else 2, len(shape)))
    asked = n.options("SplitOptions" if even else "SplitVOptions").integer("NumSplits")
    if asked != parts:
        raise n.fail(
            f"its option says {asked} parts, but it has {parts} outputs; the file is damaged, convert the model anew"
        )
    declared = [y.shape[axis] if len(y.shape) > axis else 0 for y in (n.tensors[name] for name in n.outputs)]
    n.expect([shape[axis] // parts] * parts if even else _sizes(n, shape[axis]), declared, "sizes")
    return (Split(inputs=n.names(x), outputs=n.outputs, axis=axis),)


def _sizes(n: Node, whole: int) -> list[int]:
    """Of SPLIT_V, one of which may be -1 for "the rest"."""
    sizes = n.constant(1, "the sizes").reshape(-1)[:MAX_OPERANDS].tolist()
    if sizes.count(-1) > 1:
        raise n.fail(f"its sizes {sizes} leave several parts open; only one can be -1")
    rest = whole - sum(s for s in sizes if s != -1)
    return [rest if s == -1 else s for s in sizes]


def strided_slice(n: Node) -> tuple[Op, ...]:
    operands = [n.constant(i, "its range") for i in (1, 2, 3)]
    try:
        cut = strided_ranges(n.operator, n.x().shape, operands)
    except ValueError as e:
        raise n.fail(str(e)) from None
    starts, stops, steps = zip(*cut.ranges, strict=True) if cut.ranges else ((), (), ())
    return (StridedSlice(inputs=n.names(0), outputs=n.outputs, begin=starts, end=stops, strides=steps, shrink=cut.shrink),)


def tile(n: Node) -> tuple[Op, ...]:
    """Copies along one axis, one after the other: what Keras's nearest upsampling comes as."""
    multiples = [int(m) for m in n.constant(1, "the multiples").reshape(-1)[:8]]
    repeated = [i for i, m in enumerate(multiples) if m != 1]
    if len(multiples) != len(n.x().shape) or len(repeated) > 1 or not all(1 <= m <= MAX_COPIES for m in multiples):
        raise n.fail(
            f"multiples {multiples} for the input {n.x().shape}; only one axis, up to {MAX_COPIES} times, can be repeated"
        )
    n.expect_shape([m * s for m, s in zip(multiples, n.x().shape, strict=True)], f"shape repeated {multiples} times")
    if not repeated:
        return _reshaped(n)
    (axis,) = repeated
    return (Concatenation(inputs=n.names(0) * multiples[axis], outputs=n.outputs, axis=axis),)


def transpose(n: Node) -> tuple[Op, ...]:
    permutation = np.asarray(n.constant(1, "the permutation")).reshape(-1)[:8]
    return (Transpose(inputs=n.names(0), outputs=n.outputs, permutation=tuple(int(i) for i in permutation)),)
