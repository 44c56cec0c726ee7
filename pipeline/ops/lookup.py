"""Any function of one int8 value, as a table: gelu, silu, hardsigmoid, elu... TFLite has no operator for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import dequantize, quantize
from pipeline.ir import Array, Graph, Tensor, TfliteNode
from pipeline.ops._onnx import INT32, OnnxWriter, common_layout
from pipeline.ops._unary import Unary


def lookup_table(f: Callable[[Array], Array], x: Tensor, y: Tensor) -> tuple[int, ...]:
    """The nearest int8 of y to f(real), for each value -128..127 of x in that order. `f` maps float64 arrays."""
    real = dequantize(np.arange(-128, 128, dtype=np.int8), x.scale, x.zero_point).astype(np.float64)
    return tuple(int(q) for q in quantize(f(real), y.scale, y.zero_point))


@dataclass(frozen=True, kw_only=True)
class Lookup(Unary):
    """y = table[x + 128]. inputs: x. A .tflite file says it with CAST, ADD and GATHER: the same bytes, but slow."""

    rounding = "exact"
    rounding_in_source = "once"

    table: tuple[int, ...]

    def check(self, graph: Graph) -> None:
        super().check(graph)
        if len(self.table) != 256 or not all(-128 <= q <= 127 for q in self.table):
            raise self.fail(f"the table must have 256 int8 values, for -128 to 127; it has {len(self.table)}")

    def apply(self, graph: Graph, x: Array) -> Array:
        return np.take(np.array(self.table, np.int8), x + 128)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        y = graph[self.output]
        wide, index, table = (f"{self.output}/{part}" for part in ("wide", "index", "table"))
        integers = Tensor(y.shape, "int32")
        temps = {wide: integers, index: integers, table: Tensor((256,), "int8", y.quant, np.array(self.table, np.int8))}
        offset = np.array([128], np.int32)
        return (
            TfliteNode(
                "CAST", self.inputs, (wide,), "CastOptions", {"inDataType": "INT8", "outDataType": "INT32"}, temps=temps
            ),
            TfliteNode("ADD", (wide, offset), (index,), "AddOptions", {"fusedActivationFunction": "NONE"}),
            TfliteNode("GATHER", (table, index), self.outputs, "GatherOptions", {"axis": 0}, version=2),
        )

    def onnx(self, w: OnnxWriter) -> None:
        """ONNX has no operator for a table: Gather. In the float form the table's values are real, its index is not."""
        y, layout = w.graph[self.output], common_layout(self, w)
        index = w.node("Cast", [w.bytes(self.inputs[0], layout)], f"{self.output}/index", to=INT32)
        table = w.constant(f"{self.output}/table", w.encode(y, np.array(self.table, np.int8)))
        w.keep(w.node("Gather", [table, index], f"{self.output}/found"), self.output, layout)
