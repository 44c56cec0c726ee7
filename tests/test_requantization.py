"""Two instructions against TFLM's formula: around every threshold, at both ends, and where there is nothing to be found.

What the instructions do is written here once more, in whole numbers of any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fixedpoint import clamp_int8, quantize_multiplier, requantize
from pipeline.requantization import Constants, Sums, fit, fit_plane


def smmlar(a: int, b: int, c: int) -> int:
    assert all(-(2**31) <= v < 2**31 for v in (a, b, c)), "a register has 32 bits"
    return (c * 2**32 + a * b + 2**31) // 2**32


def by_instructions(c: Constants, channel: int, total: int, clamp: tuple[int, int]) -> int:
    a = int(c.factor[channel]) * total + int(c.start[channel])
    high = smmlar(a, int(c.multiplier[channel]), int(c.addend[channel]))
    assert -(2**31) <= high < 2**31
    value = max(-128, min(127, high >> int(c.shift[channel])))
    return max(clamp[0], min(clamp[1], value))


def by_tflm(s: Sums, channel: int, totals: np.ndarray) -> np.ndarray:
    rescaled = requantize(totals + s.bias[channel], s.multiplier[channel], s.shift[channel])
    return clamp_int8(rescaled + s.y_zero, *s.clamp)


def layer(scales: list[float], reach: int, y_zero: int = -128, clamp: tuple[int, int] = (-128, 127), bias: int = 0) -> Sums:
    """A channel for each scale, of sums from -reach to reach."""
    pairs, n = [quantize_multiplier(s) for s in scales], len(scales)
    multiplier, shift = (np.array(a, np.int64) for a in zip(*pairs, strict=True))
    return Sums(np.full(n, -reach), np.full(n, reach), np.full(n, bias), multiplier, shift, y_zero, clamp)


def search(s: Sums, factor: int) -> Constants:
    """As layers ask for it: as fine as the multiplier allows."""
    finer = {1: 0, 256: 8}[factor]
    return fit(s, np.full(len(s.low), factor), -s.shift - 1 + finer)


def turns(s: Sums, channel: int) -> np.ndarray:
    """Every sum whose answer is not that of the sum before it, found by bisection in TFLM's formula."""
    first, last = by_tflm(s, channel, np.array([s.low[channel], s.high[channel]])).tolist()
    values = np.arange(first + 1, last + 1)
    below, above = np.full(values.shape, s.low[channel]), np.full(values.shape, s.high[channel])
    while (above - below > 1).any():
        middle = (below + above) // 2
        reached = by_tflm(s, channel, middle) >= values
        below, above = np.where(reached, below, middle), np.where(reached, middle, above)
    return np.unique(above)


CLAMPS = {  # zero point and clamp as activations leave them
    "relu": (-128, (-128, 127)),
    "relu6": (-128, (-128, 23)),
    "relu_above": (-30, (-30, 127)),
    "relu6_above": (-3, (-3, 100)),
    "highest": (126, (126, 127)),
}


@pytest.mark.parametrize("factor", [1, 256])
@pytest.mark.parametrize("activation", CLAMPS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_constants_give_tflms_answer_at_every_turn(activation: str, factor: int, data: st.DataObject) -> None:
    y_zero, clamp = CLAMPS[activation]
    scale = data.draw(st.floats(2.0**-13, 0.24))
    s = layer([scale], data.draw(st.integers(1, 2**22)), y_zero, clamp, data.draw(st.integers(-(2**20), 2**20)))
    found = search(s, factor)
    at = turns(s, 0)
    points = np.unique(np.clip(np.concatenate([at - 1, at, at + 1, s.low, s.high]), s.low[0], s.high[0]))
    if found.proven[0]:
        got = [by_instructions(found, 0, int(p), clamp) for p in points]
        np.testing.assert_array_equal(got, by_tflm(s, 0, points))


@pytest.mark.parametrize("factor", [1, 256])
@pytest.mark.parametrize("activation", CLAMPS)
def test_nearly_every_channel_has_constants(activation: str, factor: int) -> None:
    y_zero, clamp = CLAMPS[activation]
    scales = list(np.random.default_rng(factor).uniform(2.0**-12, 0.1, 200))
    found = search(layer(scales, 2**20, y_zero, clamp, bias=-777), factor)
    assert found.proven.sum() >= 196


@pytest.mark.parametrize("factor", [1, 256])
@pytest.mark.parametrize("activation", CLAMPS)
def test_small_intervals_are_right_throughout(activation: str, factor: int) -> None:
    y_zero, clamp = CLAMPS[activation]
    s = layer([0.24, 0.1, 0.03, 0.0101, 2.0**-9], 3000, y_zero, clamp, bias=91)
    found = search(s, factor)
    assert found.proven.all()
    totals = np.arange(-3000, 3001)
    for channel in range(5):
        got = [by_instructions(found, channel, int(t), clamp) for t in totals]
        np.testing.assert_array_equal(got, by_tflm(s, channel, totals))


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(2.0**-20, 0.9),
    reach=st.integers(0, 2**24),
    bias=st.integers(-(2**24), 2**24),
    y_zero=st.integers(-128, 127),
    low=st.integers(-128, 127),
    width=st.integers(0, 255),
)
def test_thresholds_are_where_the_formula_turns(
    scale: float, reach: int, bias: int, y_zero: int, low: int, width: int
) -> None:
    clamp = (low, min(127, low + width))
    s = layer([scale], reach, y_zero, clamp, bias)
    inside = [int(t) for t in s.thresholds()[0] if s.low[0] < t <= s.high[0]]
    np.testing.assert_array_equal(np.unique(np.array(inside, np.int64)), turns(s, 0))
    ends = by_tflm(s, 0, np.array([-reach, reach])).tolist()
    assert (s.thresholds()[0] <= -reach).sum() == ends[0] - clamp[0]
    assert (s.thresholds()[0] <= reach).sum() == ends[1] - clamp[0]


WRONG = ("multiplier", "start", "addend")


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("field", WRONG)
def test_wrong_constants_are_found_out(field: str, by: int) -> None:
    """`equal` says no, and rightly: by the formula there is a sum whose answer differs."""
    s = layer([0.0123], 2**20)
    found = search(s, 1)
    assert found.proven.all()
    assert found.equal(s).all()
    changed = getattr(found, field) + by * (2**12 if field == "multiplier" else 1)
    wrong = replace(found, **{field: changed})
    assert not wrong.equal(s).any()
    at = turns(s, 0)
    points = np.concatenate([at - 1, at])
    got = [by_instructions(wrong, 0, int(p), s.clamp) for p in points]
    assert (np.array(got) != by_tflm(s, 0, points)).any()


def test_one_threshold_that_is_missed_is_enough() -> None:
    s = layer([0.0123], 2**20)
    found = search(s, 1)
    moved = replace(s, bias=s.bias + 1)
    assert not found.equal(moved).any()


NONE = {
    "halves_of_both_signs": layer([0.0123], 2**20, 0),
    "to_the_left": layer([3.0], 1000),
    "no_multiplier": layer([0.0], 1000),
    "more_than_a_register": layer([2.0**-15], 2**31 - 1),
    "a_large_bias": layer([2.0**-15], 2**20, bias=2**31),
}


@pytest.mark.parametrize("case", NONE)
def test_where_there_are_none_that_is_said(case: str) -> None:
    assert not search(NONE[case], 256).proven.any()


@pytest.mark.parametrize("shift", [-1, 23])
def test_shifts_outside_the_registers_have_none(shift: int) -> None:
    assert not fit(layer([0.0123], 2**20), np.array([1]), np.array([shift])).proven.any()


@pytest.mark.parametrize("addends", [True, False])
@pytest.mark.parametrize("bias", [0, 40_000, -40_000], ids=["in the middle", "all at the top", "all at the bottom"])
def test_channels_that_nothing_bounds_on_one_side_have_some(bias: int, addends: bool) -> None:
    """Sums that reach no threshold, or all of them, or are always the same."""
    for reach in (0, 100):
        s = layer([0.01], reach, bias=bias)
        found = fit(s, np.array([256]), np.array([10]), addends=addends)
        assert found.proven.all()
        for total in {-reach, 0, reach}:
            assert by_instructions(found, 0, total, s.clamp) == by_tflm(s, 0, np.array([total]))[0]


def test_without_addends_there_are_none() -> None:
    s = layer([0.011, 0.0037, 0.0195], 40_000)
    found = fit(s, np.full(3, 256), np.full(3, 10), addends=False)
    assert found.proven.all()
    assert not found.addend.any()


def test_each_channel_is_searched_for_itself() -> None:
    scales = [0.0123, 0.2, 0.0004]
    together = search(layer(scales, 2**20), 1)
    for i, scale in enumerate(scales):
        alone = search(layer([scale], 2**20), 1)
        for field in (*WRONG, "proven"):
            assert getattr(together, field)[i] == getattr(alone, field)[0]


def added(scales: tuple[float, float], zeros: tuple[int, int, int], clamp: tuple[int, int] = (-128, 127)) -> np.ndarray:
    """TFLM's ADD of all pairs of int8, of an output scale of 1."""
    a, b = np.arange(-128, 128)[:, None] - zeros[0], np.arange(-128, 128)[None, :] - zeros[1]
    largest = 2 * max(scales)
    to_a, to_b, to_y = (quantize_multiplier(s) for s in (scales[0] / largest, scales[1] / largest, largest / 2**20))
    total = requantize(a << 20, *to_a) + requantize(b << 20, *to_b)
    return clamp_int8(requantize(total, *to_y) + zeros[2], *clamp).astype(np.int64)


@settings(max_examples=25, deadline=None)
@given(
    scales=st.tuples(st.floats(0.01, 3), st.floats(0.01, 3)),
    zeros=st.tuples(*[st.integers(-128, 127)] * 3),
    low=st.integers(-128, 0),
    high=st.integers(1, 127),
)
def test_a_plane_gives_every_sum(scales: tuple[float, float], zeros: tuple[int, int, int], low: int, high: int) -> None:
    answers = added(scales, zeros, (low, high))
    plane = fit_plane(answers, scales, (low, high))
    if plane is not None:
        rows = [(a, b) for a in range(-128, 128, 5) for b in range(-128, 128)]
        for a, b in rows:
            first = plane.addend + a * plane.a_factor
            total = first + b * plane.b_factor
            assert all(-(2**31) <= v < 2**31 for v in (first, total, b * plane.b_factor))
            assert max(low, min(high, total >> plane.shift)) == answers[a + 128, b + 128], (a, b)


def test_nearly_every_addition_is_a_plane() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(40):
        scales = tuple(rng.uniform(0.1, 1.5, 2).tolist())
        found += fit_plane(added(scales, (-128, 3, -128)), scales, (-128, 127)) is not None
    assert found >= 38


def test_the_finest_shift_that_a_register_holds_is_tried() -> None:
    """An addition of a trained resnet8: coarser than with 21 bits there is no plane."""
    scales, zeros = (0.7732462684520817, 2.045217092454641), (-128, 4, -128)
    plane = fit_plane(added(scales, zeros), scales, (-128, 127))
    assert plane is not None
    assert plane.shift >= 21


def test_one_answer_that_is_on_no_plane_is_enough() -> None:
    scales = (0.713, 0.377)
    answers = added(scales, (-5, 3, 7))
    assert fit_plane(answers, scales, (-128, 127)) is not None
    for by in (-1, 1):
        other = answers.copy()
        other[100, 120] += by
        assert fit_plane(other, scales, (-128, 127)) is None


@pytest.mark.parametrize("field", ["a_factor", "b_factor", "addend"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_wrong_plane_is_found_out(field: str, by: int) -> None:
    """A factor or an addend that is off by 2**16 moves some sum over a threshold."""
    scales = (0.713, 0.377)
    answers = added(scales, (-5, 3, 7))
    plane = fit_plane(answers, scales, (-128, 127))
    assert plane is not None
    assert plane.equal(answers, (-128, 127))
    assert not replace(plane, **{field: getattr(plane, field) + by * 2**16}).equal(answers, (-128, 127))


def test_halves_on_both_sides_of_zero_are_no_plane() -> None:
    """Of 0.05 and 0.03 by 0.06, in float32: a little off the halves, by less than the roundings on the way are."""
    a, b, y = (float(np.float32(s)) for s in (0.05, 0.03, 0.06))
    scales = (a / y, b / y)
    assert fit_plane(added(scales, (3, -7, -5)), scales, (-128, 127)) is None


def test_slopes_that_a_register_can_not_hold_have_no_plane() -> None:
    assert fit_plane(np.full((256, 256), 127), (1e9, 1.0), (-128, 127)) is None
