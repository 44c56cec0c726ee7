"""How far the answers of several targets agree, when one run went to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.measurement.kinds import kinds

if TYPE_CHECKING:
    from pipeline.report.figures import Report


@dataclass(frozen=True, slots=True)
class TargetAgreement:
    """Two targets' answers to the same `vectors` test images: the fraction with the same class (None where there are none),
    the fraction of equal values, and the largest difference of one value in LSB of the int8 output."""

    targets: tuple[str, str]
    vectors: int
    top1: float | None
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
        classes = f"give the same class for {100 * (self.top1 or 0):.2f} % of {self.vectors:,} test images; "
        said = f"answer {self.vectors:,} test images: " if self.top1 is None else classes
        return (
            f"{self.targets[0]} and {self.targets[1]} {said}{100 * self.equal_values:.2f} % of all values are equal, none "
            f"differs by more than {self.max_lsb} LSB"
        )


def compare_targets(reports: Sequence[Report]) -> tuple[TargetAgreement, ...]:
    """Every pair, on the images that both were given."""
    found = []
    measured = [(r.target.name, r.measured.outputs, r.task.ranked) for r in reports if r.measured]
    for (a, of_a, ranked), (b, of_b, _) in combinations(measured, 2):
        n = min(len(of_a), len(of_b))
        x, y = (outputs[:n].astype(np.int16) for outputs in (of_a, of_b))
        found.append(
            TargetAgreement(
                targets=(a, b),
                vectors=n,
                top1=float((x.argmax(axis=1) == y.argmax(axis=1)).mean()) if ranked else None,
                equal_values=float((x == y).mean()),
                max_lsb=int(np.abs(x - y).max(initial=0)),
            )
        )
    return tuple(found)
