"""The smaller of two values with broadcasting, int8: TFLite's MINIMUM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipeline.ops._extremum import Extremum
from pipeline.ops._onnx import OnnxWriter, elementwise


@dataclass(frozen=True, kw_only=True)
class Minimum(Extremum):
    """inputs: a, b, quantised as the output is; one may be a constant."""

    rounding = "exact"

    largest: ClassVar[bool] = False

    def onnx(self, w: OnnxWriter) -> None:
        elementwise(self, w, "Min")
