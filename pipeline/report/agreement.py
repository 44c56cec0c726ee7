"""How far the answers of several targets agree, when one run went to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report.kinds import kinds

if TYPE_CHECKING:
    from pipeline.report.figures import Report


@dataclass(frozen=True, slots=True)
class TargetAgreement:
    """Two targets' answers to the same `vectors` test images: the fraction with the same class, the fraction of equal
    values, and the largest difference of one value in LSB of the int8 output."""

    targets: tuple[str, str]
    vectors: int
    top1: float
    equal_values: float
    max_lsb: int

    def json(self) -> dict[str, Any]:
        figures = {
            "targets": list(self.targets),
            "vectors": self.vectors,
            "top1": self.top1,
            "equal_values": self.equal_values,
            "max_lsb": self.max_lsb,
        }
        return {**figures, "kinds": kinds(figures, "computed")}

    def __str__(self) -> str:
        return (
            f"{self.targets[0]} and {self.targets[1]} give the same class for {100 * self.top1:.2f} % of {self.vectors:,} "
            f"test images; {100 * self.equal_values:.2f} % of all values are equal, none differs by more than "
            f"{self.max_lsb} LSB"
        )


def compare_targets(reports: Sequence[Report]) -> tuple[TargetAgreement, ...]:
    """Every pair, on the images that both were given."""
    found = []
    measured = [(r.target.name, r.measured.outputs) for r in reports if r.measured]
    for (a, of_a), (b, of_b) in combinations(measured, 2):
        n = min(len(of_a), len(of_b))
        x, y = (outputs[:n].astype(np.int16) for outputs in (of_a, of_b))
        found.append(
            TargetAgreement(
                targets=(a, b),
                vectors=n,
                top1=float((x.argmax(axis=1) == y.argmax(axis=1)).mean()),
                equal_values=float((x == y).mean()),
                max_lsb=int(np.abs(x - y).max(initial=0)),
            )
        )
    return tuple(found)
