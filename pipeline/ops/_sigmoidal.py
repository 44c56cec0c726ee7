"""What LOGISTIC and TANH share: the input scaled to gemmlowp's Q4, saturated beyond its range."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pipeline.errors import GraphError
from pipeline.fixedpoint import (
    IntArray,
    clamp_int8,
    quantize_multiplier,
    requantize,
    rounding_divide_by_pot,
)
from pipeline.ir import Array, Tensor

INTEGER_BITS = 4
FINEST_SCALE = 2.0**-28


def q4_requant(x: Tensor) -> tuple[int, int]:
    """(multiplier, shift) from steps of x to Q4. GraphError for steps so fine that TFLM's radius, an int, overflows."""
    if x.scale < FINEST_SCALE:
        raise GraphError(
            f"its input's scale {x.scale:g} is below {FINEST_SCALE:g}, where TFLM's arithmetic overflows; check it"
        )
    return quantize_multiplier(x.scale * 2 ** (31 - INTEGER_BITS))


def sigmoidal(f: Callable[[IntArray, int], IntArray], x: Array, tensor: Tensor, output_bits: int, zero: int) -> Array:
    """int8 f(x): the top `output_bits` bits of its Q0 value, plus the zero point.

    Source: TFLM's logistic_common.cc and tanh.cc, and TFLite's reference/integer_ops/logistic.h and tanh.h.
    """
    multiplier, shift = q4_requant(tensor)
    radius = math.floor(((1 << INTEGER_BITS) - 1) * 2 ** (31 - INTEGER_BITS) / 2.0**shift)
    centred = x - tensor.zero_point
    inside = np.clip(centred, -radius, radius)
    y = rounding_divide_by_pot(f(requantize(inside, multiplier, shift), INTEGER_BITS), 31 - output_bits) + zero
    saturated = np.where(centred <= -radius, -128, np.where(centred >= radius, 127, y))
    return clamp_int8(saturated)
