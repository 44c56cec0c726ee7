"""An int8 Graph in the making, from a source that has channels first: values, the order in which their axes are stored, and
moves of bytes only where they must be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from pipeline.importers._layout import Axes, halfway, mergeable_order, moves, reshape_order, same_bytes
from pipeline.ir import Array, Op, Quant, Tensor
from pipeline.ops._copy import LOOPS
from pipeline.ops.quantize import Quantize
from pipeline.ops.reshape import Reshape
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
        quant = cast(Quant, self.tensors[name].quant)
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
