"""ONNX nodes that move values and compute nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.importers.layout import Axes, channels_last
from pipeline.importers.onnx.builder import OnnxBuilder
from pipeline.importers.onnx.file import OnnxNode
from pipeline.importers.stored import Value
from pipeline.ir import Array
from pipeline.ops.concatenation import Concatenation
from pipeline.ops.pad import Pad
from pipeline.ops.resize_nearest_neighbor import ResizeNearestNeighbor

POINTWISE = {"QuantizeLinear", "DequantizeLinear", "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Identity"}
MAX_RANK = 6


def identity(b: OnnxBuilder, n: OnnxNode) -> None:
    b.values[n.outputs[0]] = b.value(n, 0)


def reshape(b: OnnxBuilder, n: OnnxNode) -> None:
    x, given = b.value(n, 0), b.ints(n, 1, "shape")
    if given is None:
        raise n.fail("its shape is missing")
    zero_is_copy = not n.integer("allowzero", 0)
    shape = [x.shape[i] if d == 0 and zero_is_copy and i < len(x.shape) else d for i, d in enumerate(given)]
    if shape.count(-1) == 1:
        known = math.prod(d for d in shape if d != -1)
        shape[shape.index(-1)] = math.prod(x.shape) // known if known > 0 else 0
    _reshaped(b, n, x, tuple(shape))


def flatten(b: OnnxBuilder, n: OnnxNode) -> None:
    x = b.value(n, 0)
    axis = n.integer("axis", 1)
    if not -len(x.shape) <= axis <= len(x.shape):
        raise n.fail(f"axis {axis} does not exist in the input {x.shape}")
    axis = axis + len(x.shape) if axis < 0 else axis
    _reshaped(b, n, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def squeeze(b: OnnxBuilder, n: OnnxNode) -> None:
    x = b.value(n, 0)
    axes = b.ints(n, 1, "axes")
    gone = {a % max(len(x.shape), 1) for a in axes} if axes is not None else {i for i, s in enumerate(x.shape) if s == 1}
    _reshaped(b, n, x, tuple(s for i, s in enumerate(x.shape) if i not in gone))


def unsqueeze(b: OnnxBuilder, n: OnnxNode) -> None:
    x, axes = b.value(n, 0), b.ints(n, 1, "axes") or []
    rank = len(x.shape) + len(axes)
    new = {a % rank for a in axes}
    if len(new) != len(axes) or rank > MAX_RANK:
        raise n.fail(f"axes {axes} do not fit the input {x.shape}")
    rest = iter(x.shape)
    _reshaped(b, n, x, tuple(1 if i in new else next(rest) for i in range(rank)))


def _reshaped(b: OnnxBuilder, n: OnnxNode, x: Value, shape: tuple[int, ...]) -> None:
    """An image that is flattened for matrix products stays as it is stored: their weights are put in its order."""
    if len(shape) > MAX_RANK or any(d < 1 for d in shape) or math.prod(shape) != math.prod(x.shape):
        raise n.fail(f"{math.prod(x.shape)} values of shape {x.shape} do not fill the shape {shape}")
    if b.stays_flat(x, shape) and _feeds_dense(b, n.outputs[0]):
        value = b.flattened(x, shape, b.label(n))
    else:
        value = x if x.shape == shape else b.reshape(x, shape)
    b.values[n.outputs[0]] = value


def _feeds_dense(b: OnnxBuilder, name: str, depth: int = 0) -> bool:
    """Whether all that reads a value, through quantisation and tables, is matrix products."""
    readers = b.readers[name]
    outputs = any(name == out for out, _, _ in b.file.outputs)
    return (
        bool(readers)
        and not outputs
        and depth < 16
        and all(
            r.op in ("Gemm", "MatMul") or (r.op in POINTWISE and _feeds_dense(b, r.outputs[0], depth + 1)) for r in readers
        )
    )


def transpose(b: OnnxBuilder, n: OnnxNode) -> None:
    """Free: the same bytes, under other axes."""
    x = b.unflattened(b.value(n, 0))
    rank = len(x.shape)
    axes = n.integers("perm", list(range(rank))[::-1])
    if sorted(axes) != list(range(rank)):
        raise n.fail(f"permutation {axes} must name each of the {rank} axes of {x.shape} once")
    b.values[n.outputs[0]] = x.permuted(axes)


def depth_to_space(b: OnnxBuilder, n: OnnxNode) -> None:
    x, r = b.unflattened(b.value(n, 0)), n.integer("blocksize", 0)
    if len(x.shape) != 4 or r < 1 or x.shape[1] % (r * r):
        raise n.fail(f"blocks of {r} do not fit the input {x.shape}")
    b.values[n.outputs[0]] = b.pixel_shuffled(x, r, blocks_first=n.word("mode", "DCR") == "DCR")


def concat(b: OnnxBuilder, n: OnnxNode) -> None:
    """Parts that are quantised otherwise are brought to the result's quantisation first."""
    values = [b.unflattened(b.value(n, i)) for i in range(len(n.inputs))]
    first = values[0]
    axis = _axis(n, n.integer("axis", 0), len(first.shape))
    if any(len(v.shape) != len(first.shape) for v in values):
        raise n.fail(f"its inputs have shapes {', '.join(str(v.shape) for v in values)}")
    quant = b.quant(n.outputs[0]) or b.quant_of(first)
    names = [b.requantised(b.stored_as(v, first.order), quant).name for v in values]
    shape = tuple(sum(v.shape[axis] for v in values) if i == axis else s for i, s in enumerate(first.shape))
    b.emit(n, Concatenation, names, shape, first.order, quant=quant, axis=first.order.index(axis))


def split(b: OnnxBuilder, n: OnnxNode) -> None:
    x = b.unflattened(b.value(n, 0))
    axis = _axis(n, n.integer("axis", 0), len(x.shape))
    parts = len(n.outputs)
    even = -(-x.shape[axis] // parts)
    sizes = b.ints(n, 1, "split") or [min(even, x.shape[axis] - i * even) for i in range(parts)]
    if len(sizes) != parts or min(sizes) < 1 or sum(sizes) != x.shape[axis]:
        raise n.fail(f"parts of {sizes} do not make up axis {axis} of {x.shape}")
    start = 0
    for name, size in zip(n.outputs, sizes, strict=True):
        if b.readers[name] or any(name == out for out, _, _ in b.file.outputs):
            b.values[name] = _taken(b, n, x, axis, start, start + size, 1)
        start += size


def slice_(b: OnnxBuilder, n: OnnxNode) -> None:
    x = b.unflattened(b.value(n, 0))
    starts, ends = b.ints(n, 1, "starts") or [], b.ints(n, 2, "ends") or []
    given_axes, given_steps = b.ints(n, 3, "axes"), b.ints(n, 4)
    axes = given_axes if given_axes is not None else list(range(len(starts)))
    steps = given_steps if given_steps is not None else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise n.fail(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} do not belong together")
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = _axis(n, axis, len(x.shape))
        x = _taken(b, n, x, axis, *slice(start, end, step).indices(x.shape[axis]))
    b.values[n.outputs[0]] = x


def gather(b: OnnxBuilder, n: OnnxNode) -> None:
    """One index, or neighbouring ones, along an axis."""
    x = b.unflattened(b.value(n, 0))
    axis = _axis(n, n.integer("axis", 0), len(x.shape))
    index = b.constant(n, 1, "its indices")
    size = x.shape[axis]
    if index.dtype.kind != "i" or index.ndim > 1 or not 0 < index.size <= size:
        raise n.fail(f"{index.dtype} indices {index.shape} of {size}: only one index, or neighbouring ones, can be gathered")
    at = np.where(index < 0, index.astype(np.int64) + size, index).reshape(-1)
    first, last = int(at[0]), int(at[-1])
    if not np.array_equal(at - first, np.arange(len(at))):
        raise n.fail("only one index, or neighbouring ones in order, can be gathered")
    if first < 0 or last >= size:
        raise n.fail(f"indices {first} to {last} are outside axis {axis} of {x.shape}")
    taken = _taken(b, n, x, axis, first, last + 1, 1)
    shape = taken.shape if index.ndim else (*x.shape[:axis], *x.shape[axis + 1 :])
    b.values[n.outputs[0]] = taken if taken.shape == shape else b.reshape(taken, shape)


def _taken(b: OnnxBuilder, n: OnnxNode, x: Value, axis: int, start: int, end: int, step: int) -> Value:
    """start:end:step along an ONNX axis; end -1 with a negative step is to the very first."""
    if not range(start, end, step):
        raise n.fail(f"takes nothing along axis {axis} of {x.shape}")
    return b.taken(x, axis, start, end, step, b.label(n))


def pad(b: OnnxBuilder, n: OnnxNode) -> None:
    x = b.unflattened(b.value(n, 0))
    rank = len(x.shape)
    widths = b.ints(n, 1, "pads") or []
    axes = b.ints(n, 3)
    axes = [_axis(n, a, rank) for a in axes] if axes is not None else list(range(rank))
    if n.word("mode", "constant") != "constant" or len(widths) != 2 * len(axes) or any(w < 0 for w in widths):
        raise n.fail(f"mode {n.word('mode', 'constant')!r} with pads {widths}: only constant padding has an int8 form")
    real = n.number("value", 0.0)
    if b.given(n, 2):
        real = float(b.constant(n, 2, "its value").reshape(-1)[:1].astype(np.float64).sum())
    around = dict.fromkeys(range(rank), (0, 0)) | {a: (widths[i], widths[i + len(axes)]) for i, a in enumerate(axes)}
    quant = b.quant_of(x)
    value = None
    if real:
        value = int(np.clip(np.rint(np.clip(real / quant.scale[0], -1e6, 1e6)) + quant.zero_point, -128, 127))
    shape = tuple(s + sum(around[i]) for i, s in enumerate(x.shape))
    b.emit(n, Pad, (x.name,), shape, x.order, quant=quant, widths=tuple(around[i] for i in x.order), value=value)


def resize(b: OnnxBuilder, n: OnnxNode) -> None:
    """Nearest, where TFLite has a mode that picks the same rows and columns."""
    x = b.unflattened(b.value(n, 0))
    if n.word("mode", "nearest") != "nearest" or len(x.shape) != 4:
        raise n.fail(f"mode {n.word('mode', 'nearest')!r} of an input {x.shape}: images by nearest neighbours only")
    wanted, ratios = _target(b, n, x.shape)
    if len(wanted) != 4 or wanted[:2] != x.shape[:2] or not all(0 < s < 1 << 16 for s in wanted):
        raise n.fail(f"it resizes {x.shape} to {wanted}; height and width can change only")
    picks = [_picks(n, x.shape[i], wanted[i], ratios[i]) for i in (2, 3)]
    image = b.stored_as(x, channels_last(4))
    for corners, centers in ((False, False), (False, True), (True, False)):
        op = ResizeNearestNeighbor(inputs=(), outputs=("",), align_corners=corners, half_pixel_centers=centers)
        if all(np.array_equal(op.nearest(x.shape[i], wanted[i]), p) for i, p in zip((2, 3), picks, strict=True)):
            more: Any = {"align_corners": corners, "half_pixel_centers": centers}
            b.emit(n, ResizeNearestNeighbor, (image.name,), wanted, image.order, quant=b.quant_of(image), **more)
            return
    raise n.fail(f"its coordinates ({n.attributes}) pick other pixels than any mode of TFLite's nearest neighbour")


def _target(b: OnnxBuilder, n: OnnxNode, shape: Axes) -> tuple[Axes, list[float]]:
    """(the result's shape, each axis's scale), from the scales or, where these are missing or empty, the sizes."""
    i = 1 if n.op == "Upsample" else 2
    given: Any = n.attributes.get("scales", [])
    if b.given(n, i):
        given = b.constant(n, i, "its scales").reshape(-1)[:8].tolist()
    scales = [float(s) for s in given] if isinstance(given, list) else []
    if not all(math.isfinite(s) and 0 < s < 1 << 16 for s in scales):
        raise n.fail(f"its scales {scales} are not finite and positive")
    if scales:
        return tuple(math.floor(s * f) for s, f in zip(shape, scales, strict=False)), scales
    sizes = tuple(b.ints(n, 3) or ())
    return sizes, [w / s for w, s in zip(sizes, shape, strict=False)]


def _picks(n: OnnxNode, size: int, wanted: int, ratio: float) -> Array:
    """The rows that ONNX's nearest neighbour takes. Source: the reference in ONNX's Resize-19."""
    at = np.arange(wanted, dtype=np.float64)
    mode = n.word("coordinate_transformation_mode", "asymmetric" if n.op == "Upsample" else "half_pixel")
    forms = {
        "asymmetric": at / ratio,
        "half_pixel": (at + 0.5) / ratio - 0.5,
        "pytorch_half_pixel": (at + 0.5) / ratio - 0.5 if wanted > 1 else at * 0,
        "align_corners": at * (size - 1) / (wanted - 1) if wanted > 1 else at * 0,
    }
    rounding = n.word("nearest_mode", "floor" if n.op == "Upsample" else "round_prefer_floor")
    if mode not in forms or rounding not in ROUNDINGS:
        raise n.fail(f"coordinates {mode!r} rounded {rounding!r} are not supported")
    return np.asarray(np.clip(ROUNDINGS[rounding](forms[mode]), 0, size - 1).astype(np.uint16))


ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.asarray(np.ceil(x - 0.5)),
    "round_prefer_ceil": lambda x: np.asarray(np.floor(x + 0.5)),
}


def _axis(n: OnnxNode, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise n.fail(f"axis {axis} does not exist in a tensor of {rank} dimensions")
    return axis % rank
