"""Addition with broadcasting, int8: TFLite's ADD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.ir import Graph
from pipeline.ops._onnx import OnnxWriter, elementwise
from pipeline.ops._sum import Sum


@dataclass(frozen=True, kw_only=True)
class Add(Sum):
    """y = clamp(requantize(a' + b') + y_zero), a' and b' brought to one scale. inputs: a, b; one may be a constant."""

    rounding = "sum"

    b_sign: ClassVar[Literal[1, -1]] = 1

    def monotonic(self, graph: Graph) -> bool:
        return True

    def onnx(self, w: OnnxWriter) -> None:
        elementwise(self, w, "Add", self.activation)
