"""How sure an accuracy is."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.tasks.classification import Classification, wilson_interval
from pipeline.tasks.task import Examples


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (8, 10, 0.4901625, 0.9433178),  # as R's prop.test(8, 10, correct = FALSE) has it
        (50, 100, 0.4038315, 0.5961685),
        (0, 20, 0.0, 0.1611252),
        (20, 20, 0.8388748, 1.0),
    ],
)
def test_wilson_interval(right: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(right / n, n) == pytest.approx((low, high), abs=1e-6)


def test_scores_say_of_how_many_images() -> None:
    found = Classification(("a", "b")).scores(np.eye(2)[[0, 1, 0, 0]], Examples(np.array([0, 1, 1, 0]))).values
    low, high = wilson_interval(0.75, 4)
    assert found["images"] == 4
    assert (found["accuracy_low"], found["accuracy_high"]) == (low, high)
    assert low < found["accuracy"] < high
