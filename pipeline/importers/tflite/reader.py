"""Reads a .tflite file without trusting it.

Only the schema's lazy accessors are used, never its object API (which builds whatever lengths the file claims): every length
is compared with a limit and with the file's size first, constants are views of the file's own bytes, and whatever goes wrong
while reading ends in a GraphError that names the tensor or operator.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import GraphError
from pipeline.importers.tflite.file import DTYPES, FileOperator, FileTensor, TfliteFile, members, reading
from pipeline.ir import Array, Quant

MAGIC = b"TFL3"  # bytes 4 to 7: the flatbuffer's file identifier
MAX_FILE_BYTES = 64 << 20  # the largest part these targets know has 16 MB of flash
MAX_TENSOR_BYTES = 64 << 20
MAX_CONSTANT_BYTES = 256 << 20  # in all; tensors may share one buffer many times over
MAX_ITEMS = 8192  # tensors, operators, buffers: MobileNet has 89 tensors
MAX_OPERANDS = 512
MAX_RANK = 6
MAX_SCALES = 1 << 20  # in all
MAX_NAME = 160
RANGES = {"INT8": (-128, 127), "UINT8": (0, 255)}
NUMPY_TYPES = {"INT8": "<i1", "UINT8": "<u1", "INT32": "<i4", "INT64": "<i8", "FLOAT32": "<f4"}

BUILTINS = members(schema.BuiltinOperator)
TYPES = members(schema.TensorType)
OPTION_TYPES = members(schema.BuiltinOptions)


def read_tflite(content: bytes, name: str) -> TfliteFile:
    """What the file, called `name`, holds. GraphError when it is no .tflite file, does not hold together, or holds more than
    one subgraph."""
    if len(content) > MAX_FILE_BYTES:
        raise GraphError(f"{name}: {len(content):,} bytes; models of up to {MAX_FILE_BYTES:,} bytes are read")
    if len(content) < 8 and MAGIC.startswith(content[4:]):
        raise GraphError(f"{name} is {'cut short' if content else 'empty'}: {len(content)} bytes; make or download it again")
    if content[4:8] != MAGIC:
        raise GraphError(f"{name} is not a .tflite file: bytes 4 to 7 must be {MAGIC!r}, got {content[4:8]!r}")
    with reading(name):
        return _Reader(content, name).read()


@dataclass
class _Reader:
    content: bytes
    name: str
    model: Any = None
    subgraph: Any = None
    budget: dict[str, int] = field(default_factory=lambda: {"scales": MAX_SCALES, "constant bytes": MAX_CONSTANT_BYTES})

    def read(self) -> TfliteFile:
        self.model = schema.Model.GetRootAs(self.content)
        if self.model.Version() != 3:
            raise GraphError(f"{self.name}: schema version {self.model.Version()}; only version 3 exists")
        if self.model.SubgraphsLength() != 1:
            raise GraphError(
                f"{self.name} holds {self.model.SubgraphsLength()} subgraphs (control flow or several signatures); "
                "export one function without branches or loops"
            )
        self.subgraph = self.model.Subgraphs(0)
        self._count("tensors", self.subgraph.TensorsLength(), MAX_ITEMS)
        inputs = self._indexes("the graph's inputs", self.subgraph, "Inputs")
        outputs = self._indexes("the graph's outputs", self.subgraph, "Outputs")
        if not inputs or not outputs:
            raise GraphError(f"{self.name}: the graph needs at least one input and one output")
        count = self._count("operators", self.subgraph.OperatorsLength(), MAX_ITEMS)
        operators = tuple(self._operator(i) for i in range(count))
        used = {*inputs, *outputs}.union(*((*op.inputs, *op.outputs) for op in operators)) - {-1}
        tensors = _distinctly_named({i: self._tensor(i) for i in sorted(used)})
        return TfliteFile(self.name, tensors, operators, inputs, outputs)

    def _count(self, what: str, n: int, limit: int, itemsize: int = 4) -> int:
        if n * itemsize > len(self.content):
            raise GraphError(
                f"{self.name}: {n:,} {what} do not fit into the file's {len(self.content):,} bytes; it is corrupt"
            )
        if n > limit:
            raise GraphError(f"{self.name}: {n:,} {what}; at most {limit:,} are read")
        return n

    def _spend(self, what: str, n: int) -> None:
        self.budget[what] -= n
        if self.budget[what] < 0:
            raise GraphError(f"{self.name}: too many {what} in all; the file is corrupt or far too large for these targets")

    def _array(self, table: Any, vector: str, limit: int = MAX_OPERANDS, itemsize: int = 4) -> Array:
        """A vector of numbers as a view of the file; empty when absent."""
        n = self._count(f"entries in {vector}", getattr(table, f"{vector}Length")(), limit, itemsize)
        return cast(Array, getattr(table, f"{vector}AsNumpy")()) if n else np.zeros(0, np.uint8)

    def _indexes(self, where: str, table: Any, vector: str, low: int = 0) -> tuple[int, ...]:
        indexes = tuple(int(i) for i in self._array(table, vector))
        high = self.subgraph.TensorsLength() - 1
        for i in indexes:
            if not low <= i <= high:
                raise GraphError(f"{where}: tensor index {i} is out of range (0 to {high})")
        return indexes

    def _operator(self, i: int) -> FileOperator:
        with reading(f"{self.name}: operator {i}"):
            operator = self.subgraph.Operators(i)
            code_index = operator.OpcodeIndex()
            if code_index >= self.model.OperatorCodesLength():
                raise GraphError(f"{self.name}: operator {i} has operator code {code_index}, which the file does not define")
            code = self.model.OperatorCodes(code_index)
            # Old files fill only the 8-bit field, new ones both; for codes above 127 the old field says 127.
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            builtin = BUILTINS.get(number, f"builtin {number}")
            where = f"{self.name}: operator {i} ({builtin})"
            inputs = self._indexes(f"{where} inputs", operator, "Inputs", low=-1)
            outputs = self._indexes(f"{where} outputs", operator, "Outputs")
            if not outputs:
                raise GraphError(f"{where} has no output")
            where = f"{builtin} {self._title(outputs[0])!r} (operator {i})"
            options = operator.BuiltinOptions()
            kind = OPTION_TYPES.get(operator.BuiltinOptionsType(), "unknown options")
            custom = self._text(code.CustomCode()) if builtin == "CUSTOM" else ""
            return FileOperator(i, builtin, inputs, outputs, where, kind, options, custom)

    def _title(self, i: int) -> str:
        """A printable name. Converters join the names of all that they fused with semicolons; the first says enough."""
        with reading(f"{self.name}: tensor {i}"):
            return self._text(self.subgraph.Tensors(i).Name()).split(";")[0] or f"tensor_{i}"

    @staticmethod
    def _text(raw: bytes | None) -> str:
        return re.sub(r"[^A-Za-z0-9_./:;#-]+", "_", (raw or b"")[: 4 * MAX_NAME].decode("utf-8", "replace"))[:MAX_NAME]

    def _tensor(self, i: int) -> FileTensor:
        name = self._title(i)
        with reading(f"{self.name}: tensor {name!r}"):
            tensor = self.subgraph.Tensors(i)
            type_name = TYPES.get(tensor.Type(), f"type {tensor.Type()}")
            if tensor.IsVariable():
                raise GraphError(f"tensor {name!r} is a variable (state kept between calls); only stateless graphs run")
            if tensor.Sparsity() is not None:
                raise GraphError(
                    f"tensor {name!r} is stored sparse; convert without sparsity (pruned weights then are zeros)"
                )
            shape = self._shape(name, type_name, self._array(tensor, "Shape", MAX_RANK))
            signature = tuple(int(d) for d in self._array(tensor, "ShapeSignature", MAX_RANK)) or shape
            data = self._data(tensor, name, type_name, shape)
            return FileTensor(name, type_name, shape, signature, self._quant(tensor, name, type_name, shape), data)

    def _shape(self, name: str, type_name: str, dims: Array) -> tuple[int, ...]:
        shape = tuple(int(d) for d in dims)
        lowest = 0 if type_name in ("INT32", "INT64") else 1  # an empty shape or axis list is a legal constant
        if any(d < lowest for d in shape):
            raise GraphError(f"tensor {name!r} has shape {shape}; every dimension must be fixed and at least 1")
        if math.prod(shape) * 4 > MAX_TENSOR_BYTES * (4 if type_name in RANGES else 1):
            raise GraphError(f"tensor {name!r} has shape {shape}, more than {MAX_TENSOR_BYTES:,} bytes")
        return shape

    def _data(self, tensor: Any, name: str, type_name: str, shape: tuple[int, ...]) -> Array | None:
        """A constant's values; None for an activation. Types that graphs do not hold come back as raw bytes."""
        last = self.model.BuffersLength() - 1
        if tensor.ExternalBuffer() or not 0 <= tensor.Buffer() <= last:
            raise GraphError(f"tensor {name!r} is in buffer {tensor.Buffer()}, which is not in the file (0 to {last})")
        raw = self._buffer(self.model.Buffers(tensor.Buffer()), name)
        dtype = NUMPY_TYPES.get(type_name)
        if not raw.size:
            return np.zeros(shape, dtype) if math.prod(shape) == 0 else None
        self._spend("constant bytes", raw.size)
        if dtype is None:
            return raw
        wanted = math.prod(shape) * np.dtype(dtype).itemsize
        if raw.size != wanted:
            raise GraphError(f"constant {name!r}: {type_name}{shape} takes {wanted:,} bytes, its buffer holds {raw.size:,}")
        return raw.view(dtype).reshape(shape)

    def _buffer(self, buffer: Any, name: str) -> Array:
        start, size = buffer.Offset(), buffer.Size()
        if start <= 1:  # 1 is the writer's placeholder
            return self._array(buffer, "Data", MAX_FILE_BYTES, itemsize=1)
        if start + size > len(self.content):  # newer writers may keep the data behind the flatbuffer
            raise GraphError(
                f"constant {name!r} is said to be at bytes {start:,} to {start + size:,}, beyond the file's end"
            )
        return np.frombuffer(self.content, np.uint8, size, start)

    def _quant(self, tensor: Any, name: str, type_name: str, shape: tuple[int, ...]) -> Quant | None:
        table = tensor.Quantization()
        if table is None:
            return None
        if table.DetailsType():
            raise GraphError(
                f"tensor {name!r} uses a custom or blockwise quantisation; supported are per tensor and per channel"
            )
        scales = self._array(table, "Scale", MAX_FILE_BYTES)
        zeros = self._array(table, "ZeroPoint", MAX_FILE_BYTES, itemsize=8)
        if not scales.size:
            return None
        self._spend("scales", scales.size)
        axis = table.QuantizedDimension() if scales.size > 1 else None
        if axis is not None and not (0 <= axis < len(shape) and shape[axis] == scales.size):
            raise GraphError(f"tensor {name!r}: {scales.size} scales along dimension {axis} do not fit its shape {shape}")
        if not zeros.size:
            raise GraphError(f"tensor {name!r}: {scales.size} scales without a zero point; write it, also when it is 0")
        if zeros.size not in (1, scales.size):
            raise GraphError(f"tensor {name!r}: {zeros.size} zero points for {scales.size} scales")
        zero_point = int(zeros[0])
        if bool((zeros != zero_point).any()):
            raise GraphError(f"tensor {name!r}: zero points differ between channels; per-channel weights must be symmetric")
        low, high = RANGES.get(type_name, (0, 0))
        if type_name in DTYPES and not low <= zero_point <= high:
            raise GraphError(f"tensor {name!r}: zero point {zero_point} is out of range for {type_name} ({low} to {high})")
        try:
            return Quant(tuple(float(s) for s in scales), zero_point, axis)
        except GraphError as e:
            raise GraphError(f"tensor {name!r}: {e}") from None


def _distinctly_named(tensors: dict[int, FileTensor]) -> dict[int, FileTensor]:
    """Repeated names get a number; activations, which people read about, get theirs before constants do."""
    taken: set[str] = set()
    repeats: Counter[str] = Counter()
    named: dict[int, FileTensor] = {}
    for i in sorted(tensors, key=lambda i: tensors[i].data is not None):
        title = name = tensors[i].name
        while name in taken:
            repeats[title] += 1
            name = f"{title}#{repeats[title] + 1}"
        taken.add(name)
        named[i] = replace(tensors[i], name=name)
    return named
