"""Calibration samples: which array, which layout, how many, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import RecipeError
from pipeline.importers.samples import SAMPLES, samples

IMAGES = np.arange(6 * 4 * 5 * 3, dtype=np.uint8).reshape(6, 4, 5, 3)


def saved(tmp_path: Path, **arrays: Any) -> Path:
    np.savez(tmp_path / "c.npz", **arrays)
    return tmp_path / "c.npz"


def test_images_in_either_layout(tmp_path: Path) -> None:
    path = saved(tmp_path, x=IMAGES)
    ours = samples(path, [("image", (4, 5, 3))])
    assert len(ours) == 6
    np.testing.assert_array_equal(ours[2][0], IMAGES[2:3].astype(np.float32))
    assert ours[0][0].dtype == np.float32
    first = samples(path, [("image", (3, 4, 5))])
    np.testing.assert_array_equal(first[2][0], IMAGES[2:3].transpose(0, 3, 1, 2).astype(np.float32))
    assert samples(path, [("image", (1, 4, 5, 3))])[0][0].shape == (1, 1, 4, 5, 3)


def test_training_images_and_several_inputs(tmp_path: Path) -> None:
    assert len(samples(saved(tmp_path, x_train=IMAGES), [("image", (4, 5, 3))])) == 6
    both = samples(saved(tmp_path, input_0=IMAGES, input_1=np.ones((6, 2))), [("a", (4, 5, 3)), ("b", (2,))])
    assert [x.shape for x in both[0]] == [(1, 4, 5, 3), (1, 2)]


def test_spread_over_the_file(tmp_path: Path) -> None:
    found = samples(saved(tmp_path, x=np.arange(3000)[:, None]), [("x", (1,))])
    values = [int(s[0][0, 0]) for s in found]
    assert len(values) == SAMPLES
    assert values[0] == 0
    assert values[-1] == 2999
    assert max(np.diff(values)) <= 7


REFUSED = {
    "no array": ({"y": IMAGES}, [("x", (4, 5, 3))], r"must hold `x`: one array of real inputs"),
    "one of two": ({"x": IMAGES}, [("a", (4, 5, 3)), ("b", (2,))], r"must hold `input_0`, `input_1`"),
    "shape": ({"x": IMAGES}, [("image", (8, 8, 3))], r"input 'image' holds samples of shape \(4, 5, 3\), the model takes"),
    "text": ({"x": np.array(["a"])}, [("image", (1,))], r"is <U1\(1,\); it must hold numbers"),
    "nan": ({"x": np.full((2, 3), np.nan)}, [("x", (3,))], r"holds NaN or infinity"),
    "empty": ({"x": IMAGES[:0]}, [("x", (4, 5, 3))], r"holds no samples"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    arrays, inputs, message = REFUSED[case]
    with pytest.raises(RecipeError, match=message):
        samples(saved(tmp_path, **arrays), inputs)  # type: ignore[arg-type]
