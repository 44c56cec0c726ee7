"""Subtraction with broadcasting, int8: TFLite's SUB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.ops._onnx import OnnxWriter, elementwise
from pipeline.ops._sum import Sum


@dataclass(frozen=True, kw_only=True)
class Sub(Sum):
    """y = clamp(requantize(a' - b') + y_zero), a' and b' brought to one scale. inputs: a, b; one may be a constant."""

    rounding = "sum"

    b_sign: ClassVar[Literal[1, -1]] = -1

    def onnx(self, w: OnnxWriter) -> None:
        elementwise(self, w, "Sub", self.activation)
