"""What firmware_templates/kernels/pixel_pair.h reads: weights, start values and requantisation constants in one stream."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.ir import Array
from pipeline.requantization import MAX_SHIFT, Constants, Sums, fit

CHANNELS = 4  # at a time; of neighbouring ones the upper's weight is in a halfword's upper byte
FORMULA_SHIFTS = range(1, 23)  # to the right: TFLM's formula with one constant for rounding and zero point
MOST = 2**23  # 256 times a sum fits into a register
FINEST = MAX_SHIFT - 8  # shift of lower channels with proven constants; that of the upper ones is 8 more


def unfit(weights: Array, sums: Sums) -> str | None:
    """Why the kernel can not compute this layer; None: it can. weights (channels, ...)."""
    if weights.min() == -128:
        return "a weight is -128, which two channels in one halfword have no room for"
    if max(np.abs(sums.low + sums.bias).max(), np.abs(sums.high + sums.bias).max()) >= MOST:
        return f"its sums can reach {MOST:,}"
    unusual = [int(s) for s in sums.shift if -s not in FORMULA_SHIFTS]
    if unusual or sums.multiplier.min() <= 0:
        return f"a requantisation shifts by {unusual[0] if unusual else 0}, not by -1 to {-FORMULA_SHIFTS[-1]}"
    return None


def params(weights: Array, sums: Sums) -> dict[str, Any]:
    """The fields of the C struct `nn_pixel_pair`. weights: (channels, rows of the window, values in a row)."""
    channels = len(weights)
    filled = np.pad(weights.astype(np.int64), ((0, -channels % CHANNELS), (0, 0), (0, -weights.shape[2] % 4)))
    fours = filled.reshape(len(filled) // CHANNELS, CHANNELS, -1, 4)
    constants, firsts = _proven(sums), range(0, channels, CHANNELS)
    groups = [
        _words(w, *_scalars(sums, constants, range(i, min(i + CHANNELS, channels))))
        for w, i in zip(fours, firsts, strict=True)
    ]
    return {
        "stream": np.concatenate(groups).astype(np.uint32).view(np.int32),
        "fours": fours.shape[2],
        "y_c": channels,
        "clamp_min": sums.clamp[0],
        "clamp_max": sums.clamp[1],
    }


def _proven(sums: Sums) -> Constants:
    """Constants for the channels that have any. Lower channels' sums come as they are, upper channels' 256 times; the shift
    is as fine as the group's coarsest multiplier allows."""
    channels = np.arange(len(sums.low))
    upper = channels % 2 == 1
    coarsest = np.minimum.reduceat(-sums.shift, channels[::CHANNELS])[channels // CHANNELS]
    shift = np.minimum(coarsest - 1, FINEST) + 8 * upper
    if sums.clamp[0] < sums.y_zero:
        # Halves away from zero, on both sides of it: a step that two instructions can not have. Not worth a search.
        shift = np.full_like(shift, -1)
    return fit(sums, np.where(upper, 256, 1), shift)


def _scalars(sums: Sums, found: Constants, channels: range) -> tuple[list[int], list[int]]:
    """Start values (of upper channels 256 times) and the words after the weights, of up to four channels."""
    missing = CHANNELS - len(channels)
    if found.proven[channels].all():
        start, multiplier, addend = (
            [*(int(a[i]) for i in channels), *(0,) * missing] for a in (found.start, found.multiplier, found.addend)
        )
        pairs = [word for i in (0, 2) for word in (*multiplier[i : i + 2], *addend[i : i + 2])]
        shift = int(found.shift[channels[0]])
        return start, [1, *pairs, shift, shift + 8, 0, 0]
    start, words = [], [0]
    for i in channels:
        right = -int(sums.shift[i])
        words += [int(sums.multiplier[i]), (1 << right >> 1) + (sums.y_zero << right), right]
        start.append((256 if i % 2 else 1) * int(sums.bias[i]))
    return [*start, *(0,) * missing], [*words, *(0, 0, 0) * missing]


def _words(weights: Array, start: list[int], scalars: list[int]) -> Array:
    """Four channels' part of the stream, as int64 modulo 2**32. weights (4, fours, 4)."""
    starts = [start[0], start[0] + start[1], start[2], start[2] + start[3]]
    both = weights[0::2] + 256 * weights[1::2]
    words = (both[..., :2] & 0xFFFF) + (both[..., 2:] << 16)  # values 0 and 2; 1 and 3
    return np.concatenate([starts, words.transpose(1, 2, 0).reshape(-1), scalars]) & 0xFFFFFFFF


def cost(pairs: int, rows: int, row: int, channels: int) -> int:
    """Instructions for so many pairs of windows of `rows` rows of `row` values: widening, then each four channels."""
    fours = -(-row // 4)
    widening = 65 + rows * (8 * fours + 3 * (fours // 4 + fours % 4))
    return pairs * (widening + -(-channels // CHANNELS) * (60 + 24 * rows * fours + 3 * -(-rows * fours // 4)))
