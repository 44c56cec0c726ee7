"""Constants with which few instructions give what TFLM's roundings give: searched for, and proven, on the host.

TFLM takes a sum of products to int8 in steps: bias, a product rounded to its high half, a shift that rounds halves away from
zero, zero point, clamp. All of it is one staircase: it never falls as the sum grows, so the sums t_r at which it reaches
each value r say everything. A core with the DSP extension climbs another staircase in a multiplication and a saturation,

    SMMLAR  v = (a * multiplier + addend * 2**32 + 2**31) >> 32        where a = factor * sum + start
    SSAT    y = v >> shift, or the nearest int8

which reaches r where a * multiplier + addend * 2**32 + 2**31 >= r * 2**(32 + shift). The two are the same exactly when

    factor * t_r * multiplier + Q  >=  r * 2**(32 + shift) - 2**31  >  factor * (t_r - 1) * multiplier + Q

for every r, with Q = start * multiplier + addend * 2**32. For a given multiplier each r bounds Q from below and from above:
one interval of Q is right, or none is. Multipliers near the right slope are tried until there is such an interval, then
addends until a multiple of the multiplier falls into it. Nothing is sampled: the thresholds are all that the weights allow,
in integers. What is found is proven once more, by TFLM's own formula, before it is given out.

Zero point, bias and rounding end up in start and addend. Below and above the activation's clamp nothing has to agree: the
clamp follows, where it is narrower than int8. Where a clamp lets values on both sides of the zero point through there are no
constants, as a rule: halves go away from zero, so there the staircase has a step that is one rounding wider than the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from pipeline.fixedpoint import INT32_MAX, IntArray, clamp_int8, requantize

Flags = npt.NDArray[np.bool_]

MULTIPLIERS = 61  # tried, nearest to the right slope first
ADDENDS = (1 << 12, 1 << 17)  # tried for each: a few for all channels, many where those do not do
MAX_SHIFT = 22  # up to here thresholds and products stay below 2**62
PLANE_SHIFTS, PLANE_FACTORS = 5, range(-3, 4)  # tried, the finest shift first; factors as far from the right slopes
WIDEST = 1 << 40  # of an interval: where nothing bounds it on one side, the other side is near enough


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What a layer's channels add up, one entry each, and TFLM's way from there: requantize(sum + bias, multiplier, shift) +
    y_zero, within `clamp`. `low` to `high` are the sums of products that can occur, bias apart. Shifts are not positive."""

    low: IntArray
    high: IntArray
    bias: IntArray
    multiplier: IntArray
    shift: IntArray
    y_zero: int
    clamp: tuple[int, int]

    def of(self, which: IntArray) -> Sums:
        """Some of the channels."""
        names = ("low", "high", "bias", "multiplier", "shift")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    def answers(self, sums: IntArray) -> IntArray:
        """TFLM's int8 of sums (channels, n), by its own formula."""
        rescaled = requantize((sums + self.bias[:, None]).T, self.multiplier, self.shift).T
        return clamp_int8(rescaled + self.y_zero, *self.clamp).astype(np.int64)

    def thresholds(self) -> IntArray:
        """The least sums that give each value above the clamp's lower end, or more, (channels, values): `low` for what every
        sum reaches, `high` + 1 for what none does."""
        steps = np.arange(self.clamp[0] + 1, self.clamp[1] + 1) - self.y_zero
        right = -self.shift[:, None]
        # The least number that the rounding shift takes to each step: halves go away from zero, so below it one more.
        rounded = (steps << right) - ((np.int64(1) << right) >> 1) + ((steps <= 0) & (right > 0))
        total = -((2**30 - (np.clip(rounded, -(2**31), 2**31) << 31)) // self.multiplier[:, None])
        return np.asarray(np.clip(total - self.bias[:, None], self.low[:, None], self.high[:, None] + 1), np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Constants:
    """One entry a channel; only what is `proven` gives TFLM's answer for every sum that can occur."""

    factor: IntArray
    shift: IntArray
    multiplier: IntArray
    start: IntArray
    addend: IntArray
    proven: Flags

    def answers(self, sums: IntArray, clamp: tuple[int, int]) -> IntArray:
        """The int8 that the instructions make of sums (channels, n), clamped."""
        return clamp_int8(self._high(sums) >> self.shift[:, None], *clamp).astype(np.int64)

    def _first(self, sums: IntArray) -> IntArray:
        return sums * self.factor[:, None] + self.start[:, None]

    def _high(self, sums: IntArray) -> IntArray:
        exact = self._first(sums) * self.multiplier[:, None] + (self.addend[:, None] << 32)
        return np.asarray((exact + 2**31) >> 32, np.int64)

    def equal(self, sums: Sums) -> Flags:
        """For which channels these are TFLM's answers: compared on both sides of every threshold and at both ends, which is
        enough of two staircases; nothing leaves 32 bits on the way."""
        t = sums.thresholds()
        ends = np.stack([sums.low, sums.high], axis=1)
        points = np.clip(np.concatenate([t - 1, t, ends], axis=1), sums.low[:, None], sums.high[:, None])
        same = (self.answers(points, sums.clamp) == sums.answers(points)).all(axis=1)
        held = (np.abs(self._first(ends)) <= INT32_MAX).all(axis=1) & (np.abs(self.start) <= INT32_MAX)
        # The product's high half is below 2**30, and so is the addend: their sum needs no look.
        return np.asarray(same & held & (self.multiplier > 0) & (np.abs(self.addend) < 2**30))


def fit(sums: Sums, factor: IntArray, shift: IntArray, *, addends: bool = True) -> Constants:
    """Constants for these channels, `factor` times whose sums are what the first instruction takes; `proven` says for which
    there are any. The finer the shift the more likely, as long as the multiplier, about 2**(1 + shift + sums.shift) / factor
    of TFLM's, stays below 2**31. Without `addends` all of them are 0, which large factors have room for."""
    none, nothing = np.zeros(len(factor), np.int64), np.zeros(len(factor), np.bool_)
    found = Constants(factor, shift, none, none.copy(), none.copy(), nothing)
    reach = np.maximum(np.abs(sums.low), np.abs(sums.high)) + 1
    usable = (sums.multiplier > 0) & (sums.shift <= 0) & (shift >= 0) & (shift <= MAX_SHIFT)
    left = np.flatnonzero(usable & (reach * factor <= INT32_MAX))
    for k in range(MULTIPLIERS):
        if not len(left):
            break
        step = (k + 1) // 2 * (1 if k % 2 else -1)
        tried = _with_multiplier(sums.of(left), factor[left], shift[left], step, addends)
        for into, values in (
            (found.multiplier, tried.multiplier),
            (found.start, tried.start),
            (found.addend, tried.addend),
            (found.proven, tried.proven),
        ):
            into[left] = np.where(tried.proven, values, into[left])
        left = left[~tried.proven]
    return found


def _with_multiplier(sums: Sums, factor: IntArray, shift: IntArray, step: int, addends: bool) -> Constants:
    """Constants with the multiplier that is `step` from the right slope."""
    exponent = 1 + shift + sums.shift
    slope = ((sums.multiplier << 21 << np.maximum(exponent, 0)) >> np.maximum(-exponent, 0)) // factor
    multiplier = ((slope + 2**20) >> 21) + step
    usable = (multiplier > 0) & (multiplier <= INT32_MAX) & (exponent < 10)
    multiplier = np.where(usable, multiplier, 1)
    low, high = _interval(sums, factor, shift, multiplier)
    near = (sums.y_zero << shift) + ((np.int64(1) << shift) >> 1) if addends else np.zeros_like(shift)
    start, addend, hit = _multiple(low, high, multiplier, near, ADDENDS[0] if addends else 1)
    for i in np.flatnonzero(usable & (low <= high) & ~hit) if addends else ():
        one = slice(i, i + 1)
        start[one], addend[one], hit[one] = _multiple(low[one], high[one], multiplier[one], near[one], ADDENDS[1])
    found = Constants(factor, shift, multiplier, start, addend, usable & hit)
    return replace(found, proven=found.proven & found.equal(sums))


def _interval(sums: Sums, factor: IntArray, shift: IntArray, multiplier: IntArray) -> tuple[IntArray, IntArray]:
    """The least and the greatest right Q, one a channel; the least is the greater where there is none."""
    t = sums.thresholds()
    top = (np.arange(sums.clamp[0] + 1, sums.clamp[1] + 1) << (32 + shift[:, None])) - 2**31
    slope = (multiplier * factor)[:, None]
    nowhere = np.int64(2**62)
    low = np.where(t <= sums.high[:, None], top - t * slope, -nowhere).max(axis=1, initial=-nowhere)
    high = np.where(t > sums.low[:, None], top - (t - 1) * slope - 1, nowhere).min(axis=1, initial=nowhere)
    return np.where(low == -nowhere, high - WIDEST, low), np.where(high == nowhere, low + WIDEST, high)


def _multiple(
    low: IntArray, high: IntArray, multiplier: IntArray, near: IntArray, tries: int
) -> tuple[IntArray, IntArray, Flags]:
    """start and addend with low <= start * multiplier + addend * 2**32 <= high, the addend as near to `near` as can be; and
    for which channels there are any."""
    steps = np.arange(tries)
    addends = near[:, None] + (steps + 1) // 2 * np.where(steps % 2, 1, -1)
    behind = (addends << 32) - low[:, None]
    starts = -(behind // multiplier[:, None])
    hits = behind + starts * multiplier[:, None] <= (high - low)[:, None]
    first, channels = hits.argmax(axis=1), np.arange(len(low))
    return starts[channels, first], addends[channels, first], hits[channels, first]


@dataclass(frozen=True, slots=True)
class Plane:
    """(a * a_factor + b * b_factor + addend) >> shift of int8 a and b; all of it in 32 bits."""

    a_factor: int
    b_factor: int
    addend: int
    shift: int

    def equal(self, answers: IntArray, clamp: tuple[int, int]) -> bool:
        """The proof, of all pairs: it gives every answer, and nothing leaves 32 bits."""
        a, b = np.arange(-128, 128)[:, None], np.arange(-128, 128)[None, :]
        left, right = a * self.a_factor, b * self.b_factor
        total = self.addend + left + right
        held = all(np.abs(v).max() <= INT32_MAX for v in (left, right, self.addend + left, total))
        return bool(held and (clamp_int8(total >> self.shift, *clamp) == answers).all())


def fit_plane(answers: IntArray, slopes: tuple[float, float], clamp: tuple[int, int]) -> Plane | None:
    """A plane that, within the clamp, is `answers` (256, 256) for every pair of a and b from -128; None where none is found.

    With factors near the slopes each pair bounds the addend: from below where its answer is above the clamp's lower end,
    from above where it is below the upper one."""
    a, b = np.arange(-128, 128)[:, None], np.arange(-128, 128)[None, :]
    steps = 128 * (abs(slopes[0]) + abs(slopes[1])) + 256  # that a register has to hold
    finest = int(np.floor(np.log2(2**32 / steps)))  # more than fits, as a rule: the proof says whether it does
    for shift in range(min(finest, MAX_SHIFT), max(finest - PLANE_SHIFTS, -1), -1):
        least, most = answers << shift, (answers + 1 << shift) - 1
        for i, j in sorted(product(PLANE_FACTORS, PLANE_FACTORS), key=lambda steps: max(map(abs, steps))):
            factors = round(slopes[0] * 2**shift) + i, round(slopes[1] * 2**shift) + j
            total = a * factors[0] + b * factors[1]
            low = np.max(least - total, where=answers > clamp[0], initial=-INT32_MAX)
            high = np.min(most - total, where=answers < clamp[1], initial=INT32_MAX)
            plane = Plane(*factors, int(low + high) // 2, shift)
            if low <= high and plane.equal(answers, clamp):
                return plane
    return None
