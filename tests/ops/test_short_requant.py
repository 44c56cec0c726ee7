"""Requantisation in four instructions: the same numbers as TFLM's, and the layers that it is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.fixedpoint import requantize
from pipeline.ir import Array
from pipeline.ops._short_requant import REACH, RIGHT, short_requant, sums_reach


def in_four_instructions(acc: Array, multiplier: Array, right: Array, y_zero: int) -> Array:
    """`nn_short_requantize` of `requant__dsp.h`, with 32 bits to hold everything."""
    twice = 2 * acc
    high = ((twice * multiplier + 2**31) >> 32) + (2 * y_zero + 1) * 2 ** (right - 1)
    assert max(np.abs(twice).max(), np.abs(high).max()) < 2**31
    return (high + (twice >> 31)) >> right


@pytest.mark.parametrize("y_zero", [-128, 0, 127])
@pytest.mark.parametrize("reach", [3, 1000, 300_000, REACH - 1])
def test_every_shift_gives_what_tflm_gives(reach: int, y_zero: int) -> None:
    rng = np.random.default_rng(reach)
    for shift in range(-31, 0):
        multiplier = np.array([2**30, 2**31 - 1, *rng.integers(2**30, 2**31, 30)])
        found = short_requant(multiplier, np.full(32, shift), np.full(32, reach))
        if isinstance(found, str):
            assert shift < -RIGHT
            continue
        halves = (np.arange(-20, 21) * 2 ** (30 - shift)) // multiplier[:, None]  # sums beside the ties
        acc = np.concatenate([halves + d for d in (-1, 0, 1)] + [rng.integers(-reach, reach + 1, (32, 50))], axis=1)
        acc = np.clip(acc, -reach, reach)
        ours = in_four_instructions(acc, found[0][:, None].astype(np.int64), -found[1][:, None].astype(np.int64), y_zero)
        np.testing.assert_array_equal(ours, requantize(acc, multiplier[:, None], np.full((32, 1), shift)) + y_zero)


# multiplier, shift, reach; what is said, or the multiplier and the shift that come out
DECIDED = {
    "as_it_is": (2**30, -5, 1000, (2**30, -5)),
    "dead": (0, 0, 1000, (0, -1)),
    "no_weights": (2**30, 7, 0, (0, -1)),
    "rounds_to_nothing": (2**30, -31, 2**30 - 1, (0, -1)),
    "just_more_than_nothing": (2**30, -23, 2**22, "a channel's sums are scaled by less than 2^-22"),
    "half": (2**30, 0, 1000, "a channel's sums are scaled by a half or more"),
    "left": (2**30, 4, 1000, "a channel's sums are scaled by a half or more"),
    "largest": (2**30, -22, REACH - 1, (2**30, -22)),
    "beyond": (2**30, -9, REACH, "its sums can reach 1,073,741,824, and twice that needs more than 32 bits"),
}


@pytest.mark.parametrize("name", DECIDED)
def test_what_is_possible(name: str) -> None:
    multiplier, shift, reach, expected = DECIDED[name]
    found = short_requant(np.array([multiplier]), np.array([shift]), np.array([reach]))
    assert (found if isinstance(found, str) else (int(found[0][0]), int(found[1][0]))) == expected


def test_the_reach_is_of_weights_bias_and_any_zero_point() -> None:
    w = np.array([[1, -2], [-127, 0]], np.int8)
    assert sums_reach(w, None, 0).tolist() == [3 * 256, 127 * 256]
    assert sums_reach(w, np.array([5, -7], np.int32), 1).tolist() == [128 * 256 + 5, 2 * 256 + 7]
