"""THE requantisation formulas: TensorFlow Lite Micro's, with two roundings, vectorised over numpy arrays.

Source: tensorflow/lite/kernels/internal/common.h and quantization_util.cc (and gemmlowp/fixedpoint/fixedpoint.h), built
without TFLITE_SINGLE_ROUNDING as TFLM is. `firmware_templates/kernels/requant.h` is the same in C. Operators that TFLM
rounds in another way, as the average pool, say so in their own file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import GraphError

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
IntArray = npt.NDArray[np.int64]


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift) with `real = multiplier * 2**(shift - 31)`, multiplier in [2**30, 2**31).

    Source: QuantizeMultiplier in quantization_util.cc. A positive shift is to the left. GraphError for a `real` of 2**31 and
    more, which no sane pair of scales gives and TFLM leaves undefined.
    """
    too_large = f"the scales' ratio {real:g} is too large for 32-bit arithmetic; check the model's quantisation"
    if real == 0.0:
        return 0, 0
    if not math.isfinite(real):
        raise GraphError(too_large)
    fraction, shift = math.frexp(real)
    multiplier = int(round_half_away(fraction * 2**31))
    if multiplier == 2**31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 31:
        raise GraphError(too_large)
    return multiplier, shift


def round_half_away(x: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Round to nearest, halves away from zero: C's `round`, which TFLite's TfLiteRound is."""
    a = np.asarray(x, dtype=np.float64)
    whole = np.trunc(a)
    return np.asarray(whole + np.copysign(np.abs(a - whole) >= 0.5, a), dtype=np.float64)


def saturating_rounding_doubling_high_mul(a: npt.ArrayLike, b: npt.ArrayLike) -> IntArray:
    """High 32 bits of 2*a*b of int32 a and b, rounded to nearest; INT32_MIN * INT32_MIN saturates. Source:
    SaturatingRoundingDoublingHighMul in gemmlowp/fixedpoint/fixedpoint.h."""
    a64, b64 = np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64)
    # gemmlowp divides (towards zero) with a sign-dependent nudge; an arithmetic shift after +2**30 is the same number.
    high = (a64 * b64 + (1 << 30)) >> 31
    return np.asarray(np.minimum(high, INT32_MAX), dtype=np.int64)


def rounding_divide_by_pot(x: npt.ArrayLike, exponent: npt.ArrayLike) -> IntArray:
    """x / 2**exponent, 0 <= exponent <= 31, rounded to nearest, halves away from zero. Source: RoundingDivideByPOT in
    gemmlowp/fixedpoint/fixedpoint.h."""
    x64, e = np.asarray(x, dtype=np.int64), np.asarray(exponent, dtype=np.int64)
    mask = (np.int64(1) << e) - 1
    threshold = (mask >> 1) + (x64 < 0)
    return np.asarray((x64 >> e) + ((x64 & mask) > threshold), dtype=np.int64)


def wrap_int32(x: npt.ArrayLike) -> IntArray:
    """The low 32 bits, signed: what TFLM's `x * (1 << left_shift)` gives on its compilers once it overflows."""
    return np.asarray(((np.asarray(x, dtype=np.int64) + 2**31) & 0xFFFFFFFF) - 2**31, dtype=np.int64)


def requantize(acc: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike) -> IntArray:
    """acc * multiplier * 2**(shift - 31) with two roundings. Source: MultiplyByQuantizedMultiplier in TFLite's common.h.

    acc: int32 values; multiplier: 0 <= m < 2**31; shift: -31 to 31, positive to the left, which wraps. `multiplier` and
    `shift` broadcast against the last axis of `acc` (per-channel), or are scalars. int32 values of acc's shape.
    """
    s = np.asarray(shift, dtype=np.int64)
    left, right = np.maximum(s, 0), np.maximum(-s, 0)
    shifted = wrap_int32(np.asarray(acc, dtype=np.int64) << left)
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(shifted, multiplier), right)


def keeps_order(low: npt.ArrayLike, high: npt.ArrayLike, shift: npt.ArrayLike) -> bool:
    """Whether `requantize` never falls from low to high, for any multiplier: no left shift on the way leaves 32 bits."""
    left = np.maximum(np.asarray(shift, dtype=np.int64), 0)
    ends = np.asarray(low, dtype=np.int64) << left, np.asarray(high, dtype=np.int64) << left
    return bool((ends[0] >= INT32_MIN).all() and (ends[1] <= INT32_MAX).all())


def clamp_int8(x: npt.ArrayLike, low: int = -128, high: int = 127) -> npt.NDArray[np.int8]:
    """Each value, or the nearer end of low..high."""
    return np.asarray(np.clip(np.asarray(x), low, high), dtype=np.int8)


def quantize(real: npt.ArrayLike, scale: float, zero_point: int, dtype: Any = np.int8) -> npt.NDArray[Any]:
    """clamp(round(real / scale) + zero_point) with a float32 division, halves away from zero. Source: AffineQuantize in
    TFLite's kernels/internal/reference/quantize.h, where infinities and not-a-number are undefined: here infinities
    saturate and not-a-number gives the zero point."""
    info = np.iinfo(dtype)
    with np.errstate(over="ignore"):
        steps = np.nan_to_num(np.asarray(real, dtype=np.float32) / np.float32(scale))
    q = round_half_away(steps) + zero_point
    return np.clip(q, info.min, info.max).astype(dtype)


def dequantize(q: npt.ArrayLike, scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """scale * (q - zero_point), a float32 product. Source: Dequantize in TFLite's reference/dequantize.h."""
    return ((np.asarray(q, dtype=np.int32) - zero_point) * np.float32(scale)).astype(np.float32)


def integer_matmul(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> IntArray:
    """Exact a @ b of small integers (|a| <= 255, |b| <= 128) through BLAS.

    Floats add integers exactly while every partial sum stays below 2**24 (float32) or 2**53 (float64).
    """
    exact = np.float32 if a.shape[-1] * 255 * 128 < 2**24 else np.float64
    return np.asarray(np.rint(np.matmul(a.astype(exact), b.astype(exact))), dtype=np.int64)
