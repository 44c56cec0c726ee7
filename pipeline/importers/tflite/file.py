"""What a .tflite file holds, as plain values: tensors, operators and their options. reader.py fills them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import GraphError
from pipeline.ir import Array, DType, Quant, Tensor

MAX_INTEGERS = 8  # in an option: as many as a tensor can have dimensions
EMPTY_TABLE = struct.pack("<HHi", 4, 4, 4)  # a vtable without fields, then a table that points back at it: all defaults

DTYPES: dict[str, DType] = {"INT8": "int8", "UINT8": "uint8", "INT32": "int32", "INT64": "int32", "FLOAT32": "float32"}


def members(enum: type) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


@contextmanager
def reading(what: str) -> Iterator[None]:
    """The one boundary where a flatbuffer that does not hold together becomes a GraphError."""
    try:
        yield
    except struct.error:  # an offset leads out of the buffer
        raise GraphError(
            f"{what}: the file refers to bytes that it does not have: it is cut short, or corrupt; make or download it again"
        ) from None
    except (IndexError, ValueError, TypeError, OverflowError) as e:
        raise GraphError(f"{what}: the file is corrupt ({e}); make or download it again") from None


@dataclass(frozen=True, slots=True, eq=False)
class FileTensor:
    """One tensor. `type` is the schema's name ("INT8"); `signature` the shape with -1 for dimensions left open."""

    name: str
    type: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    quant: Quant | None
    data: Array | None

    def typed(self) -> Tensor:
        """As the graph's tensor; 64-bit constants (shapes, paddings) as 32-bit. GraphError for a type it can not hold."""
        if self.type not in DTYPES or (self.type == "INT64" and self.data is None):
            raise GraphError(f"tensor {self.name!r} is {self.type}; supported are {', '.join(DTYPES)} (INT64 for constants)")
        data = self.data
        if data is not None and self.type == "INT64":
            if data.size and (data.min() < -(2**31) or data.max() >= 2**31):
                raise GraphError(f"constant {self.name!r} has values beyond 32 bits")
            data = data.astype(np.int32)
        return Tensor(self.shape, DTYPES[self.type], self.quant, data)


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """An operator's options table; a table that the file leaves out reads as all defaults."""

    where: str
    table: Any

    def __getitem__(self, name: str) -> int | float | bool:
        with reading(self.where):
            value = getattr(self.table, name)()
        if isinstance(value, float) and not math.isfinite(value):
            raise GraphError(f"{self.where}: option {name} = {value} is not a finite number")
        return cast(int | float | bool, value)

    def integer(self, name: str) -> int:
        return int(self[name])

    def integers(self, name: str) -> tuple[int, ...]:
        """A short vector of integers, such as axes or a shape."""
        with reading(self.where):
            n = getattr(self.table, f"{name}Length")()
            if n > MAX_INTEGERS:
                raise GraphError(f"{self.where}: option {name} has {n:,} values; at most {MAX_INTEGERS} are read")
            return tuple(int(getattr(self.table, name)(i)) for i in range(n))

    def member(self, name: str, enum: type) -> str:
        """The name of an enum-valued option ("SAME", "RELU6")."""
        names = members(enum)
        value = self.integer(name)
        if value not in names:
            raise GraphError(f"{self.where}: option {name} = {value} is none of {', '.join(names.values())}")
        return names[value]


@dataclass(frozen=True, slots=True, eq=False)
class FileOperator:
    """One operator. `inputs` and `outputs` index the file's tensors; -1 is an input left out."""

    index: int
    builtin: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    where: str  # how messages name it
    options_type: str = "NONE"
    options_table: Any = None
    custom_name: str = ""

    def options(self, kind: str) -> Options:
        """Its options, which must be of schema class `kind`."""
        table = getattr(schema, kind)()
        if self.options_type == "NONE" or self.options_table is None:
            table.Init(EMPTY_TABLE, 4)
        elif self.options_type == kind:
            with reading(self.where):
                table.Init(self.options_table.Bytes, self.options_table.Pos)
        else:
            raise GraphError(f"{self.where} carries {self.options_type} where {kind} belong")
        return Options(self.where, table)


@dataclass(frozen=True, slots=True, eq=False)
class TfliteFile:
    """Tensors are there by index, only those that an operator or the graph's edge refers to."""

    name: str
    tensors: Mapping[int, FileTensor]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
