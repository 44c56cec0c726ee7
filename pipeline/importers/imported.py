"""What every model importer gives: the int8 graph, and how the file's own inputs and outputs relate to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.errors import GraphError
from pipeline.fixedpoint import clamp_int8, dequantize, quantize, quantize_multiplier, requantize
from pipeline.importers.stored import Value
from pipeline.ir import Array, Graph, Quant
from pipeline.preprocess import Preprocess

EdgeType = Literal["int8", "uint8", "float32"]


@dataclass(frozen=True, slots=True)
class Edge:
    """One input or output as the file declares it. `quant` is the graph's int8 tensor's; `file_quant` that of the file's own
    tensor where it is quantised otherwise (uint8)."""

    name: str
    dtype: EdgeType
    quant: Quant
    file_quant: Quant | None = None

    def to_int8(self, values: Array) -> Array:
        """The graph's int8 for values of the file's dtype. GraphError for any other dtype."""
        self._expect(values, self.dtype)
        if self.dtype == "float32":
            return quantize(values, self.quant.scale[0], self.quant.zero_point)
        return self.table()[values.view(np.uint8)] if self.dtype == "uint8" else values

    def from_int8(self, values: Array) -> Array:
        """What the file's own output would hold for these int8 values of the graph's."""
        self._expect(values, "int8")
        if self.dtype == "float32":
            return dequantize(values, self.quant.scale[0], self.quant.zero_point)
        if self.dtype == "int8":
            return values
        assert self.file_quant is not None
        y = _rescaled(values.astype(np.int64), self.quant, self.file_quant)
        return np.clip(y, 0, 255).astype(np.uint8)

    def table(self) -> Array:
        """For a uint8 input: the int8 value of each byte 0..255, (256,), as TFLite's QUANTIZE computes it."""
        assert self.file_quant is not None
        return clamp_int8(_rescaled(np.arange(256), self.file_quant, self.quant))

    def preprocess(self) -> Preprocess | None:
        """For a uint8 input: the same on the device. None when the device takes the int8 values themselves."""
        return Preprocess("uint8", self.table()[None, :]) if self.dtype == "uint8" else None

    def _expect(self, values: Array, dtype: str) -> None:
        if values.dtype != np.dtype(dtype):
            raise GraphError(f"{self.name!r} takes {dtype} values, got {values.dtype}")


def _rescaled(q: Array, x: Quant, y: Quant) -> Array:
    multiplier, shift = quantize_multiplier(x.scale[0] / y.scale[0])
    return requantize(q - x.zero_point, multiplier, shift) + y.zero_point


@dataclass(frozen=True, slots=True, eq=False)
class OnnxSource:
    """An .onnx file, to be run: what its inputs and outputs are in the graph, and `points`, the results of its
    DequantizeLinear nodes. `content` is int8; where it was made of the float model at `path`, `samples` are what with."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    points: tuple[tuple[str, Value], ...]
    content: bytes = b""
    path: Path = Path()
    samples: tuple[tuple[Array, ...], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """`inputs` and `outputs` run parallel to the graph's. The graph itself takes and gives int8 only.

    Of a .tflite file also its bytes, what each of its tensors (by index) is called in the graph, and its operators;
    of an .onnx file what it takes to run that."""

    graph: Graph
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    tflite: bytes | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    builtins: frozenset[str] = frozenset()
    onnx: OnnxSource | None = None

    @property
    def preprocess(self) -> Preprocess | None:
        """How the device turns raw bytes into the graph's input: where the file has one input, and that is uint8."""
        return self.inputs[0].preprocess() if len(self.inputs) == 1 else None
