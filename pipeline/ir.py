"""The int8 graph: small, frozen, typed. `Graph.run` over the operators' `reference` methods is the specification that
every generated artefact must match byte for byte. Imports no torch, onnx, tensorflow or mlflow.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import GraphError
from pipeline.kernel import Kernel, Variant

DType = Literal["int8", "uint8", "int32", "float32"]
Array = npt.NDArray[Any]
Storage = Literal["new", "in_place", "alias"]
Rounding = Literal["exact", "product", "requant", "sum", "function", "mean", "once", "rescaled"]

MAX_TENSOR_BYTES = 2**31 - 1  # the generated C addresses with int32


@dataclass(frozen=True, slots=True)
class Quant:
    """real = scale * (q - zero_point); one scale, or one per index of `axis`. Scales are kept at float32 precision,
    since TFLite files store them so and every multiplier is derived from the stored value."""

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None

    def __post_init__(self) -> None:
        rounded = tuple(float(np.float32(s)) for s in self.scale)
        if not rounded or not all(math.isfinite(s) and s > 0 for s in rounded):
            raise GraphError(f"quantisation scales must be positive and finite, got {self.scale[:4]}")
        if self.axis is None and len(rounded) != 1:
            raise GraphError(f"{len(rounded)} scales without an axis; give the axis they run along")
        object.__setattr__(self, "scale", rounded)
        object.__setattr__(self, "zero_point", int(self.zero_point))


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """An activation (`data is None`) or a read-only constant. NHWC; convolution weights OHWI, depthwise 1HWC, dense OI."""

    shape: tuple[int, ...]
    dtype: DType
    quant: Quant | None = None
    data: Array | None = None

    def __post_init__(self) -> None:
        if any(s < 1 for s in self.shape) or self.nbytes > MAX_TENSOR_BYTES:
            raise GraphError(f"a tensor of shape {self.shape} is empty or larger than {MAX_TENSOR_BYTES:,} bytes")
        if self.dtype in ("int8", "uint8") and not np.iinfo(self.dtype).min <= self.zero_point <= np.iinfo(self.dtype).max:
            raise GraphError(f"zero point {self.zero_point} is not a value of {self.dtype}")
        if self.data is not None:
            data = np.asarray(self.data, order="C")  # ascontiguousarray would make a scalar one-dimensional
            if data.shape != self.shape or data.dtype != np.dtype(self.dtype):
                raise GraphError(f"constant is {data.dtype}{data.shape}, declared {self.dtype}{self.shape}")
            data = data.copy() if data.flags.writeable else data
            data.setflags(write=False)
            object.__setattr__(self, "data", data)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize

    @property
    def scale(self) -> float:
        """The per-tensor scale; GraphError when there is none."""
        if self.quant is None or len(self.quant.scale) != 1:
            raise GraphError(f"tensor {self.dtype}{self.shape} has no per-tensor scale")
        return self.quant.scale[0]

    @property
    def zero_point(self) -> int:
        return self.quant.zero_point if self.quant else 0


@dataclass(frozen=True, slots=True, eq=False)
class TfliteNode:
    """One operator of a .tflite file. `builtin` is the BuiltinOperator name ("CONV_2D"), `options` the options table's
    class ("Conv2DOptions") with its camelCase attributes. An input is a tensor name, a numpy array (an anonymous constant),
    or None (an absent optional input). `temps` declares tensors of the file that are not in the graph: activations between
    the nodes of one operator, and constants with a quantisation."""

    builtin: str
    inputs: tuple[str | Array | None, ...]
    outputs: tuple[str, ...]
    options: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    temps: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Op(ABC):
    """One operator. Subclasses are frozen dataclasses in `pipeline/ops/`, one file each.

    `reference` is the specification: the C kernel and TFLM must match it bit for bit. Activations come and go with one extra
    leading axis of n independent examples: shape (n, *tensor.shape); constants have exactly their tensor's shape.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    rounding: ClassVar[Rounding]
    """Why a runtime that computes in float32 may come to a neighbouring value: a row of `pipeline.proof.tolerances`."""
    rounding_in_source: ClassVar[Rounding | None] = None
    """The same for a model that this was imported from, where that is another."""

    @property
    def output(self) -> str:
        return self.outputs[0]

    @property
    def kind(self) -> str:
        """The operator's name in messages and tables: the class name in snake case, which is also its file's name."""
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__).lstrip("_")

    @abstractmethod
    def check(self, graph: Graph) -> None:
        """Raise GraphError, naming the tensor, unless shapes, dtypes and quantisation fit this operator."""

    @abstractmethod
    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        """The outputs for `args`, in the order of `inputs`."""

    @abstractmethod
    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        """The C calls of the general variant, in order, which every core can run. Empty only when `storage` is "alias"."""

    def variants(self, graph: Graph) -> tuple[Variant, ...]:
        """Every way to compute it, the general one first. `pipeline.lowering` chooses; nobody else asks for kernels."""
        return (self.general(graph),)

    def general(self, graph: Graph, cost: int = 0) -> Variant:
        kernels = self.kernels(graph)
        return Variant(kernels[0].name if kernels else "none", kernels, cost)

    @abstractmethod
    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        """The .tflite operators that compute it, in order."""

    def macs(self, graph: Graph) -> int:
        """Multiply-accumulates of one inference."""
        return 0

    def storage(self, graph: Graph) -> Storage:
        """Where the (first) output may live: "new" memory; "in_place" over the first input, when that dies here; or as an
        "alias" of the first input's very bytes (reshape: no kernel runs)."""
        return "new"

    def monotonic(self, graph: Graph) -> bool:
        """Every output grows, or stays, when an input grows, channel by channel of the last axis: then the image of an
        interval is the operator applied to its end points."""
        return False

    def fail(self, message: str) -> GraphError:
        """A GraphError that starts with the operator and the tensor it writes."""
        return GraphError(f"{self.kind} {self.output!r}: {message}")


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Operators in topological order over named tensors. `inputs` and `outputs` are activation names."""

    name: str
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.tensors[name]
        except KeyError:
            raise GraphError(f"graph {self.name!r} has no tensor {name!r}") from None

    def constant(self, name: str) -> Array:
        data = self[name].data
        if data is None:
            raise GraphError(f"tensor {name!r} must be a constant")
        return data

    def checked(self) -> Graph:
        """Self, after proving that every name resolves, every value is written once before it is read, the outputs depend on
        the inputs, and each operator's own check passes. Every pass is followed by this."""
        if not self.inputs or not self.outputs:
            raise GraphError(f"graph {self.name!r} needs at least one input and one output")
        known = set(self.inputs) | {n for n, t in self.tensors.items() if t.data is not None}
        varying = set(self.inputs)
        for name in self.inputs:
            if self[name].data is not None:
                raise GraphError(f"graph input {name!r} is a constant")
            if not self[name].shape:
                raise GraphError(f"graph input {name!r} has no axes; give it the shape (1,)")
        for op in self.ops:
            for name in op.inputs:
                if name not in self.tensors:
                    raise op.fail(f"reads {name!r}, which does not exist")
                if name not in known:
                    raise op.fail(f"reads {name!r} before it is written: the graph is cyclic or out of order")
            for name in op.outputs:
                if name in known:
                    raise op.fail(f"writes {name!r} a second time")
                if name not in self.tensors:
                    raise op.fail(f"writes {name!r}, which is not declared")
                known.add(name)
            if varying & set(op.inputs):
                varying.update(op.outputs)
            op.check(self)
        for name in self.outputs:
            if name not in known:
                raise GraphError(f"graph output {name!r} is never written")
            if name not in varying:
                raise GraphError(f"graph output {name!r} depends on no input: it is a constant; leave it out of the outputs")
        return self

    def trace(self, *inputs: Array, visit: Callable[[str, Array], None]) -> tuple[Array, ...]:
        """Run n examples (each input of shape (n, *tensor.shape)), calling `visit(name, values)` for each op output."""
        values: dict[str, Array] = {}
        last_use = {name: i for i, op in enumerate(self.ops) for name in op.inputs}
        for name, x in zip(self.inputs, inputs, strict=True):
            want = self[name]
            if x.shape[1:] != want.shape or x.dtype != np.dtype(want.dtype):
                takes = f"{want.dtype} of shape (n, {', '.join(map(str, want.shape))})"
                raise GraphError(f"input {name!r} takes {takes}, got {x.dtype}{x.shape}")
            values[name] = x
        for i, op in enumerate(self.ops):
            args = [values[n] if n in values else self.constant(n) for n in op.inputs]
            for name, y in zip(op.outputs, op.reference(self, *args), strict=True):
                values[name] = y
                visit(name, y)
            for name in set(op.inputs) & values.keys():
                if last_use[name] == i and name not in self.outputs:
                    del values[name]
        return tuple(values[n] for n in self.outputs)

    def run(self, *inputs: Array, batch: int = 64) -> tuple[Array, ...]:
        """The integer reference's outputs, each (n, *tensor.shape), computed `batch` examples at a time."""
        n = len(inputs[0])
        chunks = [
            self.trace(*(x[i : i + batch] for x in inputs), visit=lambda _name, _y: None) for i in range(0, max(n, 1), batch)
        ]
        return tuple(np.concatenate(parts) for parts in zip(*chunks, strict=True))

    def macs(self) -> int:
        return sum(op.macs(self) for op in self.ops)

    def used_constants(self) -> dict[str, Tensor]:
        return {n: self[n] for op in self.ops for n in op.inputs if self[n].data is not None}

    def sha256(self) -> str:
        """Identity of the computation: operators in order, with their attributes, shapes, quantisation and constants."""
        h = hashlib.sha256()
        for op in self.ops:
            h.update(type(op).__name__.encode())
            h.update(repr(sorted((f.name, getattr(op, f.name)) for f in fields(op))).encode())
        for name in sorted({n for op in self.ops for n in (*op.inputs, *op.outputs)} | {*self.inputs, *self.outputs}):
            t = self[name]
            h.update(repr((name, t.shape, t.dtype, t.quant)).encode())
            if t.data is not None:
                h.update(t.data.tobytes())
        h.update(repr((self.inputs, self.outputs)).encode())
        return h.hexdigest()

    def with_ops(self, ops: Iterable[Op], tensors: Mapping[str, Tensor] | None = None) -> Graph:
        """A graph with these operators, `tensors` added, and tensors nobody names any more dropped."""
        ops = tuple(ops)
        merged = {**self.tensors, **(tensors or {})}
        used = {n for op in ops for n in (*op.inputs, *op.outputs)} | {*self.inputs, *self.outputs}
        return replace(self, ops=ops, tensors={n: t for n, t in merged.items() if n in used})
