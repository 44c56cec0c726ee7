"""Reads an .onnx file without trusting it, into plain values.

The file is weighed before protobuf parses it (a few bytes of a message can take hundreds in memory), tensors are checked
against their declared shapes, and data outside the file may only lie in its own folder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from pipeline.errors import GraphError
from pipeline.importers.bounded import read_bytes
from pipeline.ir import Array

MAX_FILE_BYTES = 64 << 20
MAX_EXTERNAL_BYTES = 128 << 20  # in all
MAX_STRUCTURE_BYTES = 4_000_000  # all but the tensors' values; parsed, it can take a hundred times that
MAX_PACKED_BYTES = 16 << 20  # values one by one, up to eight times that when parsed
MAX_FIELDS = 300_000
MAX_NODES = 4096
MAX_RANK = 8
MAX_LIST = 64  # integers in an attribute
SMALL = 1024  # messages of fewer bytes are not looked into when weighing

# Protobuf field numbers of onnx.proto on the way to a tensor's values.
TENSOR: dict[int, Any] = {9: "raw", 4: "packed", 5: "packed", 7: "packed", 10: "packed", 11: "packed"}
NODE: dict[int, Any] = {5: {5: TENSOR}}
MODEL: dict[int, Any] = {7: {1: NODE, 5: TENSOR}}

T = TypeVar("T")
NUMPY_TYPES = {
    TensorProto.FLOAT: "<f4", TensorProto.DOUBLE: "<f8", TensorProto.INT8: "i1", TensorProto.UINT8: "u1",
    TensorProto.INT32: "<i4", TensorProto.INT64: "<i8", TensorProto.BOOL: "?", TensorProto.INT16: "<i2",
    TensorProto.UINT16: "<u2",
}  # fmt: skip
PACKED_FIELDS = {"<f4": "float_data", "<f8": "double_data", "<i8": "int64_data"}


@dataclass(frozen=True, slots=True, eq=False)
class OnnxNode:
    """One node. `attributes` are ints, floats, strings, lists of those, and arrays; an input left out is ""."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        """How messages name it."""
        return f"{self.op} {self.name or (self.outputs[0] if self.outputs else '')!r}"

    def fail(self, message: str) -> GraphError:
        return GraphError(f"{self}: {message}")

    def integer(self, name: str, default: int) -> int:
        return self._of(name, default, int)

    def number(self, name: str, default: float) -> float:
        return float(self._of(name, default, float, int))

    def word(self, name: str, default: str) -> str:
        return self._of(name, default, str)

    def integers(self, name: str, default: list[int]) -> list[int]:
        values = self._of(name, default, list)
        if len(values) > MAX_LIST or not all(isinstance(v, int) for v in values):
            raise self.fail(f"attribute {name} must be a few integers")
        return values

    def _of(self, name: str, default: T, *kinds: type) -> T:
        value = self.attributes.get(name, default)
        if not isinstance(value, kinds) or (isinstance(value, float) and not math.isfinite(value)):
            raise self.fail(f"attribute {name} = {value!r} must be a finite {kinds[0].__name__}")
        return cast(T, value)


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFile:
    """`inputs` and `outputs`: (name, numpy dtype or "", shape with None for open dimensions or None if unknown)."""

    name: str
    opset: int
    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, Array]
    inputs: tuple[tuple[str, str, tuple[int | None, ...] | None], ...]
    outputs: tuple[tuple[str, str, tuple[int | None, ...] | None], ...]


def read_onnx(path: Path) -> OnnxFile:
    """GraphError when the file is no ONNX model, does not hold together, or reaches outside its folder."""
    content = read_bytes(path, MAX_FILE_BYTES)
    _weigh(content, path.name)
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as e:  # protobuf's DecodeError, of whichever implementation is in use
        raise GraphError(f"{path} is not an ONNX file, or is corrupt ({e}).") from None
    try:
        return _Reader(path, model).read()
    except (ValueError, TypeError, OverflowError, UnicodeDecodeError) as e:
        raise GraphError(f"{path}: the file is corrupt ({e}).") from None


def _weigh(content: bytes, name: str) -> None:
    """Refuse what would take far more memory parsed than it has bytes."""
    spent = {"structure": len(content), "raw": 0, "packed": 0, "fields": 0}

    def walk(start: int, end: int, schema: Mapping[int, Any]) -> None:
        while start < end:
            spent["fields"] += 1
            if spent["fields"] > MAX_FIELDS:
                raise GraphError(
                    f"{name}: more than {MAX_FIELDS:,} entries; it is corrupt or far too large for these targets."
                )
            key, start = _varint(content, start, end)
            kind, wire = schema.get(key >> 3), key & 7
            if wire == 0:
                _, start = _varint(content, start, end)
                continue
            size, start = _varint(content, start, end) if wire == 2 else ({1: 8, 5: 4}.get(wire, -1), start)
            if not 0 <= size <= end - start:
                raise GraphError(f"{name} is not an ONNX file, or is corrupt (a length at byte {start:,} reaches too far).")
            if isinstance(kind, str) and wire == 2:
                spent[kind] += size
                spent["structure"] -= size
            elif isinstance(kind, dict) and wire == 2 and size >= SMALL:
                walk(start, start + size, kind)
            start += size

    walk(0, len(content), MODEL)
    for what, limit in (("structure", MAX_STRUCTURE_BYTES), ("packed", MAX_PACKED_BYTES)):
        if spent[what] > limit:
            raise GraphError(
                f"{name}: {spent[what]:,} bytes of {what} beside its raw tensors; at most {limit:,} are read. Save the "
                "model without doc strings and metadata, its weights as raw data."
            )


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise GraphError(f"the file is not an ONNX model, or is corrupt or truncated (at byte {at:,}).")


def _text(value: str | bytes) -> str:
    """protobuf gives bytes where a string is not UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


@dataclass
class _Reader:
    path: Path
    model: ModelProto
    external_bytes: int = 0

    def read(self) -> OnnxFile:
        graph = self.model.graph
        opset = next((o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), 0)
        if not graph.node or not opset:
            raise GraphError(f"{self.path} holds no ONNX graph; it is corrupt or no model.")
        if len(graph.node) > MAX_NODES:
            raise GraphError(f"{self.path}: {len(graph.node):,} nodes; at most {MAX_NODES:,} are read.")
        if graph.sparse_initializer:
            raise GraphError(f"{self.path} stores sparse weights; save it with dense ones.")
        constants = {_text(t.name): self.array(t) for t in graph.initializer}
        nodes = tuple(self.node(n) for n in graph.node)
        inputs = tuple(self.described(i) for i in graph.input if _text(i.name) not in constants)
        return OnnxFile(self.path.stem, opset, nodes, constants, inputs, tuple(map(self.described, graph.output)))

    def node(self, n: NodeProto) -> OnnxNode:
        attributes = {_text(a.name): value for a in n.attribute if (value := self.attribute(n, a)) is not None}
        inputs, outputs = tuple(map(_text, n.input)), tuple(map(_text, n.output))
        return OnnxNode(_text(n.op_type), _text(n.domain), _text(n.name), inputs, outputs, attributes)

    def attribute(self, n: NodeProto, a: AttributeProto) -> Any:
        if a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            raise GraphError(f"{n.op_type} {n.name!r}: branches and loops are not supported; export the model without them.")
        if a.type == AttributeProto.TENSOR:
            return self.array(a.t)
        if a.type == AttributeProto.STRING:
            return a.s.decode("utf-8", "replace")
        plain = {AttributeProto.FLOAT: "f", AttributeProto.INT: "i"}
        lists = {AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints"}
        if a.type in plain:
            return getattr(a, plain[a.type])
        return list(getattr(a, lists[a.type])) if a.type in lists else None

    def described(self, v: ValueInfoProto) -> tuple[str, str, tuple[int | None, ...] | None]:
        t = v.type.tensor_type
        if not v.type.HasField("tensor_type"):
            raise GraphError(f"{v.name!r} is no tensor (a sequence, map or optional); only tensors are supported.")
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in t.shape.dim) if t.HasField("shape") else None
        if shape is not None and (len(shape) > MAX_RANK or any(d is not None and d < 1 for d in shape)):
            raise GraphError(f"{v.name!r} has shape {shape}; at most {MAX_RANK} dimensions of at least 1 are supported.")
        dtype = NUMPY_TYPES.get(t.elem_type, "")
        return _text(v.name), str(np.dtype(dtype)) if dtype else f"type {t.elem_type}", shape

    def array(self, t: TensorProto) -> Array:
        """A tensor's values, read-only."""
        shape = tuple(int(d) for d in t.dims)
        if len(shape) > MAX_RANK or any(d < 0 for d in shape):
            raise GraphError(f"constant {t.name!r} has shape {shape}; dimensions must not be negative.")
        if t.data_type not in NUMPY_TYPES:
            names = ", ".join(str(np.dtype(d)) for d in NUMPY_TYPES.values())
            raise GraphError(f"constant {t.name!r} is of ONNX type {t.data_type}; supported are {names}.")
        dtype, size = np.dtype(NUMPY_TYPES[t.data_type]), math.prod(shape)
        if t.data_location == TensorProto.EXTERNAL:
            values = np.frombuffer(self.external(t, size * dtype.itemsize), dtype)
        elif t.raw_data:
            values = np.frombuffer(t.raw_data, np.uint8)
            values = values.view(dtype) if values.size == size * dtype.itemsize else values[:0]
        else:
            field = getattr(t, PACKED_FIELDS.get(dtype.str, "int32_data"))
            values = np.fromiter(field, np.int64 if dtype.kind != "f" else np.float64, len(field)).astype(dtype)
        if values.size != size:
            raise GraphError(f"constant {t.name!r}: {dtype}{shape} takes {size:,} values, its data has another size.")
        values = values.reshape(shape)
        values.setflags(write=False)
        return values

    def external(self, t: TensorProto, wanted: int) -> bytes:
        """`wanted` bytes of the file that the tensor names, which must lie in the model's own folder."""
        entries = {_text(e.key): _text(e.value) for e in t.external_data}
        location, folder = entries.get("location", ""), self.path.resolve().parent
        file = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
            raise GraphError(
                f"constant {t.name!r} lies in {location!r}, outside the model's folder; external data must be beside it."
            )
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(wanted)))
        self.external_bytes += max(wanted, 0)
        if length != wanted or offset < 0 or self.external_bytes > MAX_EXTERNAL_BYTES:
            raise GraphError(f"constant {t.name!r}: {wanted:,} bytes wanted, {length:,} declared in {location!r}.")
        try:
            with file.open("rb") as stream:
                stream.seek(offset)
                data = bytes(stream.read(wanted))
        except OSError as e:
            raise GraphError(f"constant {t.name!r}: {file} can not be read ({e.strerror or e}).") from None
        if len(data) != wanted:
            raise GraphError(f"constant {t.name!r}: {location!r} ends {wanted - len(data):,} bytes too early.")
        return data
