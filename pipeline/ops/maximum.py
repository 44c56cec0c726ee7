"""The larger of two values with broadcasting, int8: TFLite's MAXIMUM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pipeline.ops._extremum import Extremum


@dataclass(frozen=True, kw_only=True)
class Maximum(Extremum):
    """inputs: a, b, quantised as the output is; one may be a constant."""

    largest: ClassVar[bool] = True
