"""An int8 Graph in the making, from a source that has channels first: values, the order in which their axes are stored, and
moves of bytes only where they must be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from pipeline.importers.layout import Axes, channels_last, halfway, mergeable_order, moves, plain, reshape_order, same_bytes
from pipeline.ir import Array, Op, Quant, Tensor
from pipeline.ops._copy import LOOPS
from pipeline.ops._window import Pair
from pipeline.ops.quantize import Quantize
from pipeline.ops.reshape import Reshape
from pipeline.ops.slice import Slice
from pipeline.ops.strided_slice import StridedSlice
from pipeline.ops.transpose import Transpose


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the source in the Graph. `shape` is the source's, batch 1; axis i of the stored tensor is axis `order[i]`.
    `flat`: a (1, features) value whose stored bytes are still those of an image of that shape and order."""

    name: str
    shape: Axes
    order: Axes
    flat: tuple[Axes, Axes] | None = None

    @property
    def columns(self) -> Array:
        """Stored column j of a flat value is the source's column `columns[j]`."""
        assert self.flat is not None
        shape, order = self.flat
        return np.arange(int(np.prod(shape))).reshape(shape).transpose(order).reshape(-1)

    def permuted(self, axes: Sequence[int]) -> Value:
        """The same bytes, under other axes of the source. Not for flat values."""
        return Value(self.name, tuple(self.shape[d] for d in axes), tuple(list(axes).index(d) for d in self.order))


class StoredGraph:
    """Tensors and operators, written one after the other."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []

    def write(
        self, cls: type[Op], inputs: Sequence[str], shape: Sequence[int], quant: Quant, label: str, **attributes: Any
    ) -> str:
        """One operator and the tensor it writes, whose name is `label`, made unique."""
        name = self.unique(label)
        self.tensors[name] = Tensor(tuple(shape), "int8", quant)
        self.ops.append(cls(inputs=tuple(inputs), outputs=(name,), **attributes))
        return name

    def write_wide(
        self, cls: type[Op], inputs: Sequence[str], wide: Axes, shape: Axes, quant: Quant, label: str, **attributes: Any
    ) -> str:
        """The same for an operator whose own rank may be another: it writes `wide`, which a free reshape makes `shape`."""
        if wide == shape:
            return self.write(cls, inputs, shape, quant, label, **attributes)
        return self.reshaped(self.write(cls, inputs, wide, quant, f"{label}.wide", **attributes), shape, label)

    def quant_of(self, value: Value) -> Quant:
        return cast(Quant, self.tensors[value.name].quant)

    def add_constant(self, name: str, data: Array, quant: Quant) -> str:
        """A new constant tensor; its name is made unique."""
        unique = self.unique(name)
        self.tensors[unique] = Tensor(data.shape, cast(Any, str(data.dtype)), quant, data)
        return unique

    def reshaped(self, x: str, shape: Sequence[int], label: str) -> str:
        """`x` under another stored shape, by a free reshape."""
        if self.tensors[x].shape == tuple(shape):
            return x
        return self.write(Reshape, (x,), shape, cast(Quant, self.tensors[x].quant), label)

    def stored_as(self, value: Value, order: Axes) -> Value:
        """`value` with its axes stored in `order`, moved if need be."""
        value = self.unflattened(value)
        name = self._moved(value, order)
        return Value(self.reshaped(name, [value.shape[i] for i in order], f"{name}.reordered"), value.shape, order)

    def _moved(self, value: Value, order: Axes) -> str:
        """The bytes of `value` in another order, under whatever shape is at hand."""
        name = value.name
        if same_bytes(value.shape, value.order, order):
            return name
        sizes, permutation = moves(value.shape, value.order, order)
        if len(sizes) > LOOPS:
            half = halfway(value.shape, value.order, order)
            return self._moved(Value(self._moved(value, half), value.shape, half), order)
        source = self.reshaped(name, sizes, f"{name}.grouped")
        quant = self.quant_of(value)
        moved = [sizes[i] for i in permutation]
        return self.write(Transpose, (source,), moved, quant, f"{name}.transposed", permutation=permutation)

    def unflattened(self, value: Value) -> Value:
        """`value` with its bytes in an order that its axes can tell."""
        if value.flat is None:
            return value
        shape, order = value.flat
        image = Value(self.reshaped(value.name, [shape[i] for i in order], f"{value.name}.image"), shape, order)
        return self.reshape(image, value.shape)

    def reshape(self, value: Value, shape: Axes) -> Value:
        """The source's reshape of `value`; bytes move only where they must."""
        value = self.unflattened(value)
        stored = value.order
        if reshape_order(value.shape, stored, shape) is None:
            stored = mergeable_order(value.shape, stored, shape)
        order = reshape_order(value.shape, stored, shape)
        assert order is not None  # that is what mergeable_order is for
        name = self.reshaped(self._moved(value, stored), [shape[i] for i in order], f"{value.name}.reshaped")
        return Value(name, shape, order)

    def stays_flat(self, value: Value, shape: Axes) -> bool:
        """Whether a reshape of `value` to features would move bytes, which matrix products that read it can do without."""
        features = value.flat is None and len(shape) == 2 and shape[0] == 1
        return features and reshape_order(value.shape, value.order, shape) is None

    def flattened(self, value: Value, shape: Axes, label: str) -> Value:
        """`value` as features in the order in which they are stored."""
        return Value(self.reshaped(value.name, shape, label), shape, plain(2), (value.shape, value.order))

    def image(self, value: Value) -> tuple[str, Pair]:
        """(tensor (1, H, W, C), (H, W)) of a value (N, C, H, W) or, with height 1, (N, C, L)."""
        x = self.stored_as(value, channels_last(len(value.shape)))
        channels, *space = value.shape[1:]
        size = (space[0], space[1]) if len(space) == 2 else (1, space[0])
        return self.reshaped(x.name, (1, *size, channels), f"{x.name}.wide"), size

    def taken(self, value: Value, axis: int, start: int, end: int, step: int, label: str) -> Value:
        """start:end:step, at least one index, along an axis of the source; end -1 with a negative step is to the very first.
        Not for flat values."""
        if (start, end, step) == (0, value.shape[axis], 1):
            return value
        shape = tuple(len(range(start, end, step)) if d == axis else s for d, s in enumerate(value.shape))
        stored = tuple(shape[d] for d in value.order)
        quant = self.quant_of(value)
        begin = tuple(start if d == axis else 0 for d in value.order)
        if step == 1:
            name = self.write(Slice, (value.name,), stored, quant, label, begin=begin)
        else:
            ends = tuple(end if d == axis else shape[d] for d in value.order)
            strides = tuple(step if d == axis else 1 for d in value.order)
            name = self.write(StridedSlice, (value.name,), stored, quant, label, begin=begin, end=ends, strides=strides)
        return Value(name, shape, value.order)

    def pixel_shuffled(self, value: Value, r: int, *, blocks_first: bool = False) -> Value:
        """Channels (C, r, r), or with `blocks_first` (r, r, C), as C channels of r x r pixels for each one."""
        _, channels, h, w = value.shape
        c = channels // r**2
        if blocks_first:
            spread = self.reshape(value, (1, r, r, c, h, w)).permuted((0, 3, 4, 1, 5, 2))
        else:
            spread = self.reshape(value, (1, c, r, r, h, w)).permuted((0, 1, 4, 2, 5, 3))
        return self.reshape(spread, (1, c, h * r, w * r))

    def requantised(self, value: Value, quant: Quant) -> Value:
        """`value` under another quantisation, as operators that never rescale want it."""
        tensor = self.tensors[value.name]
        if tensor.quant == quant:
            return value
        name = self.write(Quantize, (value.name,), tensor.shape, quant, f"{value.name}.requantised")
        return Value(name, value.shape, value.order, value.flat)

    def unique(self, name: str) -> str:
        base = re.sub(r"[^\w.\-/]", "_", name)
        unique, i = base, 1
        while unique in self.tensors:
            unique, i = f"{base}_{i}", i + 1
        return unique
