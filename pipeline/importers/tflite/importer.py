"""The .tflite importer: what a converter wrote, as it is, to an int8 graph.

Float or uint8 inputs and outputs are stripped down to the int8 tensors behind their QUANTIZE and DEQUANTIZE; `Imported`
keeps how they relate. Everything else must be int8 already: float, hybrid, 16-bit and uint8 models are refused with reasons.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.errors import GraphError
from pipeline.importers.bounded import read_bytes
from pipeline.importers.imported import Edge, EdgeType, Imported
from pipeline.importers.tflite.builtins import BUILTINS
from pipeline.importers.tflite.composites import composites
from pipeline.importers.tflite.file import FileOperator, FileTensor, TfliteFile
from pipeline.importers.tflite.node import Node
from pipeline.importers.tflite.reader import MAX_FILE_BYTES, read_tflite
from pipeline.importers.tflite.shapes import FOLDABLE, fold
from pipeline.ir import Array, Graph, Op, Quant, Tensor
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.max_pool2d import MaxPool2d

ADVICE = (
    "A .tflite file must be int8 throughout (`--calibration` can not quantize one): convert it with full int8 quantisation "
    "(TFLITE_BUILTINS_INT8 and a representative dataset), or pass the Keras or ONNX model with --calibration instead."
)
CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
SUPPORTED = ", ".join(sorted({*BUILTINS, *CONVERSIONS}))
WINDOWED = (Conv2d, DepthwiseConv2d, AveragePool2d, MaxPool2d)
EDGES: dict[str, EdgeType] = {"FLOAT32": "float32", "UINT8": "uint8"}


def load_tflite(source: str | Path | bytes, name: str | None = None) -> Graph:
    """The int8 graph of a .tflite file, given as path or bytes. GraphError for anything it can not express exactly."""
    return import_tflite(source, name).graph


def import_tflite(source: str | Path | bytes, name: str | None = None) -> Imported:
    """As `load_tflite`, with what the file's own inputs and outputs are. The graph is called `name`, by default the file's
    stem."""
    if isinstance(source, bytes):
        content, title, called = source, name or "model", name or "model"
    else:
        content, title, called = read_bytes(Path(source), MAX_FILE_BYTES), name or Path(source).stem, str(source)
    file = read_tflite(content, called)
    _refuse_open_shapes(file)
    _refuse_other_arithmetic(file)
    _refuse_unknown_operators(file)
    imported = _Assembly(file, title).imported()
    names = {i: tensor.name for i, tensor in file.tensors.items()}
    return replace(imported, tflite=content, names=names, builtins=frozenset(op.builtin for op in file.operators))


def _refuse_open_shapes(file: TfliteFile) -> None:
    for i in file.inputs:
        t = file.tensors[i]
        if any(d < 0 for d in t.signature[1:]) or len(t.signature) != len(t.shape):
            raise GraphError(
                f"input {t.name!r} has the open shape {t.signature}; only the batch (first) dimension may be left open. "
                "Convert the model with a fixed input shape"
            )


def _refuse_other_arithmetic(file: TfliteFile) -> None:
    """Float, hybrid, 16x8 and TensorFlow-1 uint8 models, each by its name and what to do."""
    int8_operators = 0
    for op in file.operators:
        if op.builtin in CONVERSIONS:
            continue
        operands = [file.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
        live = {t.type for t in operands if t.data is None}
        constants = {t.type for t in operands if t.data is not None}
        if live & {"FLOAT32", "FLOAT16"}:
            if int8_operators:
                raise GraphError(f"{op.where} computes in float: the model is only partly int8. {ADVICE}")
            if constants & {"INT8", "INT4", "UINT8"}:
                raise GraphError(f"{op.where} is hybrid: {_one(constants)} weights, float arithmetic. {ADVICE}")
            raise GraphError(f"{op.where} computes in float: this is a float model. {ADVICE}")
        if "INT16" in live:
            raise GraphError(f"{op.where} has 16-bit activations (a 16x8 model); only 8-bit ones are supported. {ADVICE}")
        if "UINT8" in live or "UINT8" in constants:
            raise GraphError(
                f"{op.where} computes in uint8, TensorFlow 1's quantisation, which TFLite Micro has dropped. {ADVICE}"
            )
        int8_operators += "INT8" in live


def _one(types: Iterable[str]) -> str:
    return next(t.lower() for t in sorted(types) if t in ("INT8", "INT4", "UINT8"))


def _refuse_unknown_operators(file: TfliteFile) -> None:
    within = {op.index for composite in composites(file).values() for op in composite.parts}
    for op in file.operators:
        if op.builtin == "CUSTOM":
            raise GraphError(
                f"{op.where} is the custom operator {op.custom_name!r}; custom operators have no int8 definition here. "
                f"Export the model without it and do that step on the host. Supported: {SUPPORTED}"
            )
        if op.builtin not in {*BUILTINS, *FOLDABLE, *CONVERSIONS, "SHAPE"} and op.index not in within:
            raise GraphError(f"{op.where} is not supported. Supported operators: {SUPPORTED}")


@dataclass
class _Assembly:
    """From the file's operators to the graph's, in file order. `renamed` leads from a float or uint8 edge, and from further
    int8 copies of it, to the one int8 tensor behind it; `folded` holds what shape arithmetic gave."""

    file: TfliteFile
    title: str  # the graph's name
    renamed: dict[int, int] = field(default_factory=dict)
    stripped: set[int] = field(default_factory=set)
    folded: dict[int, Tensor] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.composites = composites(self.file)

    def imported(self) -> Imported:
        inputs = tuple(self._edge(i, "input") for i in self.file.inputs)
        outputs = tuple(self._edge(i, "output") for i in self.file.outputs)
        for composite in self.composites.values():
            self.stripped |= {op.index for op in composite.parts[:-1]}
        try:
            ops = [
                op for o in self.file.operators if o.index not in self.stripped and not self._fold(o) for op in self._ops(o)
            ]
        except GraphError as e:
            raise GraphError(f"{e}{self._open_shape()}") from None
        if not ops:
            raise GraphError(f"{self.file.name}: there is nothing to compute between its inputs and outputs")
        x, y = (tuple(self._named(i) for i in edge) for edge in (self.file.inputs, self.file.outputs))
        if len({*x, *y}) < len(x) + len(y):
            raise GraphError(f"{self.file.name}: inputs ({', '.join(x)}) and outputs ({', '.join(y)}) must all be different")
        edge = {self._named(i): self._tensor(i) for i in (*self.file.inputs, *self.file.outputs)}
        for name in (name for name, tensor in edge.items() if tensor.data is not None):
            raise GraphError(f"input or output {name!r} is a constant")
        self.tensors |= edge
        graph = Graph(self.title, self.tensors, tuple(ops), x, y)
        for op in ops:
            if isinstance(op, WINDOWED) and graph[op.inputs[0]].shape[0] != 1:
                raise op.fail(f"computes one image at a time, not {graph[op.inputs[0]].shape[0]}; convert with a batch of 1")
        try:
            return Imported(graph.with_ops(ops).checked(), inputs, outputs)
        except GraphError as e:
            raise GraphError(f"{e}{self._open_shape()}") from None

    def _open_shape(self) -> str:
        """What to do when a shape that the file leaves open is the likely reason: only the batch may be open."""
        for t in self.file.tensors.values():
            if t.data is None and any(d < 0 for d in t.signature[1:]):
                return (
                    f". The file leaves the shape of {t.name!r} open ({', '.join(map(str, t.signature))}), to be computed "
                    "at run time: convert the model with a fixed batch size of 1 (in Keras, Input(..., batch_size=1))"
                )
        return ""

    def _edge(self, i: int, role: Literal["input", "output"]) -> Edge:
        """How tensor i of the file relates to the graph: a float or uint8 one must have only conversions around it."""
        t = self.file.tensors[i]
        if t.data is not None:
            raise GraphError(f"{role} {t.name!r} is a constant")
        if t.type == "INT8":
            return Edge(t.name, "int8", self._quant(t))
        around = [o for o in self.file.operators if i in (o.inputs if role == "input" else o.outputs)]
        beyond = [j for o in around if o.builtin in CONVERSIONS for j in (o.outputs if role == "input" else o.inputs)[:1]]
        tensors = [self.file.tensors[j] for j in beyond if j >= 0]
        if t.type not in EDGES or not tensors or len(tensors) < len(around) or any(x.type != "INT8" for x in tensors):
            raise GraphError(
                f"{role} {t.name!r} is {t.type}; inputs and outputs must be int8, or float32 or uint8 with nothing but a "
                f"conversion (QUANTIZE, DEQUANTIZE) between them and int8. {ADVICE}"
            )
        quant = self._quant(tensors[0])
        if any(self._quant(x) != quant for x in tensors):
            raise GraphError(f"{role} {t.name!r} is quantised in several ways; quantise it once")
        aliases = {i, *beyond} - {beyond[0]}
        if aliases & self.renamed.keys() or (role == "output" and len(around) > 1):
            raise GraphError(f"{role} {t.name!r}: a tensor at the graph's edge is written twice")
        self.stripped |= {o.index for o in around}
        self.renamed |= dict.fromkeys(aliases, beyond[0])
        return Edge(t.name, EDGES[t.type], quant, self._quant(t) if t.type == "UINT8" else None)

    @staticmethod
    def _quant(t: FileTensor) -> Quant:
        if t.quant is None or t.quant.axis is not None:
            raise GraphError(
                f"tensor {t.name!r} is {t.type} without one scale and zero point; it must be quantised per tensor"
            )
        return t.quant

    def _fold(self, op: FileOperator) -> bool:
        """True when the operator only computes with shapes; its value is then a constant."""
        if op.builtin == "SHAPE" and op.inputs and op.inputs[0] >= 0:
            value: Array | None = np.array(self.file.tensors[op.inputs[0]].shape, np.int32)
        else:
            values = [self._tensor(i).data for i in op.inputs if i >= 0]
            known = [v for v in values if v is not None]
            try:
                value = fold(op, known) if len(known) == len(op.inputs) else None
            except (ValueError, IndexError) as e:
                raise GraphError(f"{op.where}: its operands do not fit together ({e})") from None
        if value is not None:
            self.folded[op.outputs[0]] = Tensor(value.shape, "int32", None, value)
        return value is not None

    def _ops(self, op: FileOperator) -> tuple[Op, ...]:
        if op.index in self.composites:
            composite = self.composites[op.index]
            return composite.build(tuple(self._node(part) for part in composite.parts))
        if op.builtin not in BUILTINS:
            place = "on values that are not known beforehand" if op.builtin in FOLDABLE else "other than at the graph's edge"
            raise GraphError(f"{op.where} is not supported {place}. Supported operators: {SUPPORTED}")
        return BUILTINS[op.builtin](self._node(op))

    def _node(self, op: FileOperator) -> Node:
        here = {self._named(i): self._tensor(i) for i in (*op.inputs, *op.outputs) if i >= 0}
        self.tensors |= here
        inputs = tuple(self._named(i) if i >= 0 else None for i in op.inputs)
        for i in op.outputs:
            if self.file.tensors[i].data is not None:
                raise GraphError(f"{op.where} writes {self.file.tensors[i].name!r}, which is a constant")
        return Node(op, inputs, tuple(self._named(i) for i in op.outputs), here)

    def _behind(self, i: int) -> FileTensor:
        for _ in self.renamed:  # an output may lead to an input, and that to its int8 form
            i = self.renamed.get(i, i)
        return self.file.tensors[i]

    def _named(self, i: int) -> str:
        return self._behind(i).name

    def _tensor(self, i: int) -> Tensor:
        return self.folded[i] if i in self.folded else self._behind(i).typed()
