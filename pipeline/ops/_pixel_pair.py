"""What firmware_templates/kernels/pixel_pair.h reads: weights, start values and requantisation constants in one stream."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.ir import Array
from pipeline.requantization import Constants, Sums, fit

CHANNELS = 4  # at a time; of neighbouring ones the upper's weight is in a halfword's upper byte
FORMULA_SHIFTS = range(1, 23)  # to the right: TFLM's formula with one constant for rounding and zero point
CODE = {"pixel_pair": 788}  # bytes, in tests/counts
MOST = 2**23  # 256 times a sum fits into a register
SHIFT, UPPER_SHIFT = 4, 12  # of proven constants, in pixel_pair.h


def unfit(weights: Array, sums: Sums) -> str | None:
    """Why the kernel can not compute this layer; None: it can. weights (channels, ...)."""
    pairs = np.pad(weights.astype(np.int64).reshape(len(weights), -1), ((0, len(weights) % 2), (0, 0)))
    if (256 * pairs[1::2] + pairs[::2]).min() < -(2**15):
        return "a weight is -128, which two channels in one halfword have no room for"
    if max(np.abs(sums.low + sums.bias).max(), np.abs(sums.high + sums.bias).max()) >= MOST:
        return f"its sums can reach {MOST:,}"
    unusual = [int(s) for s in sums.shift if -s not in FORMULA_SHIFTS]
    if unusual or sums.multiplier.min() <= 0:
        return f"a requantisation shifts by {unusual[0] if unusual else 0}, not by -1 to {-FORMULA_SHIFTS[-1]}"
    return None


def params(weights: Array, sums: Sums) -> dict[str, Any] | str:
    """The fields of the C struct `nn_pixel_pair`; or what speaks against it. weights: (channels, values of a window)."""
    if refused := unfit(weights, sums):
        return refused
    channels = len(weights)
    filled = np.pad(weights.astype(np.int64), ((0, -channels % CHANNELS), (0, -weights.shape[1] % 4)))
    fours = filled.reshape(len(filled) // CHANNELS, CHANNELS, -1, 4)
    constants, firsts = _proven(sums), range(0, channels, CHANNELS)
    groups = [
        _words(w, *_scalars(sums, constants, range(i, min(i + CHANNELS, channels))))
        for w, i in zip(fours, firsts, strict=True)
    ]
    return {
        "stream": np.concatenate(groups).astype(np.uint32).view(np.int32),
        "whole": sum(len(group) for group in groups[: channels // CHANNELS]),
        "words": sum(len(group) for group in groups),
        "fours": fours.shape[2],
        "y_c": channels,
        "clamp_min": sums.clamp[0],
        "clamp_max": sums.clamp[1],
    }


def _proven(sums: Sums) -> Constants:
    """Constants for the channels that have any. Lower channels' sums come as they are, upper channels' 256 times."""
    upper = np.arange(len(sums.low)) % 2 == 1
    shift = np.where(upper, UPPER_SHIFT, SHIFT)
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
        return start, [1, *pairs]
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


def cost(pairs: int, values: int, sums: Sums) -> int:
    """Instructions for so many pairs of windows of so many values: widening, then each four channels."""
    fours, groups = -(-values // 4), -(-len(sums.low) // CHANNELS)
    last = 18 if sums.clamp[0] >= sums.y_zero else 46  # by proven constants, by TFLM's formula
    return pairs * (75 + 9 * fours + groups * (28 + last + 24 * fours + 3 * -(-fours // 4)))
