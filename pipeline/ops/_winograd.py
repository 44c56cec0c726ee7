"""What firmware_templates/kernels/winograd.h reads: transformed weights, start values and requantisation constants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.fixedpoint import INT32_MAX
from pipeline.ir import Array
from pipeline.ops._pixel_pair import FORMULA_SHIFTS
from pipeline.requantization import Constants, Sums, fit

CODE = {"winograd": 444}  # bytes, in tests/counts
CONSTANTS = 4  # words of a channel after the weights


@dataclass(frozen=True, eq=False)
class Transform:
    """F(side x side, 3x3) in whole numbers. `weights` (side + 2, 3) is the matrix G, its rows multiplied until they are
    whole; what comes out is `factor` times the convolution's sum, of values from which `x_least` was taken. The lower
    halves of V have `lift` added; `shift` is that of proven constants. `stages`: instructions of the transform of four
    channels of a tile, and of the outputs of one channel of a tile. `code_bytes`: of its code in resnet8, tests/counts."""

    side: int
    weights: Array
    factor: int
    x_least: int
    lift: int
    shift: int
    stages: tuple[int, int]
    code_bytes: int
    cycles_each: float

    @property
    def positions(self) -> int:
        return (self.side + 2) ** 2


FOUR = Transform(
    side=4,
    weights=np.array([[3, 0, 0], [-1, -1, -1], [-1, 1, -1], [1, 2, 4], [1, -2, 4], [0, 0, 3]]),
    factor=64,
    x_least=-128,
    lift=12800,
    shift=8,
    stages=(660, 285),
    code_bytes=4720,
    cycles_each=1.62,
)

TWO = Transform(
    side=2,
    weights=np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]),
    factor=4,
    x_least=0,
    lift=0,
    shift=4,
    stages=(250, 80),
    code_bytes=2024,
    cycles_each=1.7,
)


def unfit(t: Transform, weights: Array, sums: Sums) -> str | None:
    """Why the kernel can not compute this layer; None: it can. weights (channels, 3, 3, input channels)."""
    read = _as_read(t, weights, sums)
    reach = max(int(np.abs(a).max()) for a in (read.low, read.high, sums.low + sums.bias, sums.high + sums.bias))
    if reach * t.factor > INT32_MAX:
        return f"its sums can reach {reach:,}, and {t.factor} times that needs more than 32 bits"
    if np.abs(_transformed(t, weights)).max() > 2**15 - 1:
        return "its transformed weights need more than 16 bits"
    unusual = [int(s) for s in sums.shift if -s not in FORMULA_SHIFTS]
    if unusual or sums.multiplier.min() <= 0:
        return f"a requantisation shifts by {unusual[0] if unusual else 0}, not by -1 to {-FORMULA_SHIFTS[-1]}"
    return None


def params(t: Transform, weights: Array, sums: Sums) -> dict[str, Any]:
    """Fields of the C struct `nn_winograd`. weights (channels, 3, 3, input channels)."""
    channels, _, _, inputs = weights.shape
    fours = -(-inputs // 4)
    filled = np.pad(weights, ((0, channels % 2), (0, 0), (0, 0), (0, 4 * fours - inputs)))
    u = _transformed(t, filled).reshape(len(filled), t.positions, fours, 4)
    starts = -t.lift * u[..., :2].sum(axis=(2, 3))
    words = word_pairs(u.reshape(len(u), -1))  # values 0 and 2; 1 and 3
    pairs = words.reshape(-1, 2, t.positions, fours, 2).transpose(0, 2, 3, 4, 1).reshape(-1, t.positions, 4 * fours)
    products = np.concatenate([starts.reshape(-1, 2, t.positions).transpose(0, 2, 1), pairs], axis=2)
    constants = np.zeros((len(filled), CONSTANTS), np.int64)
    constants[:channels] = _constants(t, _as_read(t, weights, sums))
    stream = np.concatenate([products.reshape(len(pairs), -1), constants.reshape(len(pairs), -1)], axis=1)
    return {
        "fours": fours,
        "clamp_min": sums.clamp[0],
        "clamp_max": sums.clamp[1],
        "stream": (stream & 0xFFFFFFFF).astype(np.uint32).view(np.int32).reshape(-1),
    }


def scratch_bytes(t: Transform, y_w: int, inputs: int) -> int:
    """Lines, V and M."""
    fours, columns = -(-inputs // 4), -(-y_w // t.side) * t.side + 2
    return 4 * (columns * fours * (t.side + 2) + 4 * fours * t.positions + 4 * t.positions)


def cost(t: Transform, y_h: int, y_w: int, inputs: int, sums: Sums) -> int:
    """Instructions on a Cortex-M4."""
    fours, down, across, channels = -(-inputs // 4), -(-y_h // t.side), -(-y_w // t.side), len(sums.low)
    rounds = 5 + 3 * -(-fours // 8) if fours > 8 else 0
    products = 35 + t.positions * (11 + 10 * fours + rounds)
    lines = (across * t.side + 2) * fours * (t.side + 8) * down
    whole, tiles = (y_h // t.side) * (y_w // t.side), down * across
    formula = 3 * t.side**2 if sums.clamp[0] < sums.y_zero else 0
    outputs = (tiles * (t.stages[1] + formula + 25) + (tiles - whole) * 12 * t.side**2) * channels
    return lines + tiles * fours * (t.stages[0] + 15) + down * -(-across // 2) * -(-channels // 2) * products + outputs


def word_pairs(weights: Array) -> Array:
    """(n, 4k) weights as (n, k, 2) words, each of two values' weights: of the values 0 and 2 of a four, and of 1 and 3."""
    fours = weights.reshape(len(weights), -1, 2, 2)  # four, first or second half of it, value in that
    words: Array = (fours[..., 0, :] & 0xFFFF) | (fours[..., 1, :] << 16)
    return words


def _transformed(t: Transform, weights: Array) -> Array:
    """U, (channels, side + 2, side + 2, input channels)."""
    u: Array = np.einsum("ia,oabc,jb->oijc", t.weights, weights.astype(np.int64), t.weights, optimize=True)
    return u


def _as_read(t: Transform, weights: Array, sums: Sums) -> Sums:
    """The sums of x - x_least; what is taken off goes into the bias."""
    off = t.x_least * weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    return replace(sums, low=sums.low - off, high=sums.high - off, bias=sums.bias + off)


def _constants(t: Transform, sums: Sums) -> Array:
    """Four words a channel: proven ones, or those of TFLM's formula where there are none."""
    channels = len(sums.low)
    # Halves away from zero, on both sides of it, are a step that two instructions can not have: not worth a search.
    shift = np.full(channels, t.shift if sums.clamp[0] >= sums.y_zero else -1)
    found: Constants = fit(sums, np.full(channels, t.factor), shift)
    right = -sums.shift
    formula = (t.factor * sums.bias, sums.multiplier, ((1 << right) >> 1) + (sums.y_zero << right), right)
    proven = (found.start, found.multiplier, found.addend, np.zeros_like(right))
    return np.stack([np.where(found.proven, p, f) for p, f in zip(proven, formula, strict=True)], axis=1)
