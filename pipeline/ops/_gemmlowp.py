"""gemmlowp's fixed-point exponential, division, logistic and tanh (gemmlowp/fixedpoint/fixedpoint.h), on numpy arrays.

A value Q<i> is an int32 with i integer bits: real = raw * 2**(i - 31). TFLM computes softmax, logistic and tanh with these.
Here they run on the host alone and fill tables, so that the firmware needs none of them.
"""

from __future__ import annotations

import numpy as np

from pipeline.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    IntArray,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)

ONE_Q0 = INT32_MAX  # the largest Q0 value stands for 1
ONE_Q2 = 1 << 29
multiply = saturating_rounding_doubling_high_mul  # Q<a> * Q<b> = Q<a + b>


def shift_left(raw: IntArray, bits: int) -> IntArray:
    """Saturating multiplication by 2**bits."""
    return np.asarray(np.clip(raw << bits, INT32_MIN, INT32_MAX), dtype=np.int64)


def exp_on_negative_values(a: IntArray, integer_bits: int) -> IntArray:
    """Q0 exp(a) of Q<integer_bits> a <= 0; integer_bits <= 5."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    a_mod_quarter = (a & (quarter - 1)) - quarter  # in [-1/4, 0)
    result = _exp_between_minus_quarter_and_0(shift_left(a_mod_quarter, integer_bits))
    remainder = a_mod_quarter - a
    # exp(-2**exponent) in Q0, multiplied in for each bit of the remainder.
    factors = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242}
    for exponent, factor in factors.items():
        if integer_bits > exponent:
            bit = (remainder >> (fraction_bits + exponent)) & 1
            result = np.where(bit == 1, multiply(result, factor), result)
    return np.where(a == 0, ONE_Q0, result)


def _exp_between_minus_quarter_and_0(a: IntArray) -> IntArray:
    """Taylor expansion around -1/8, Q0 to Q0."""
    exp_of_minus_eighth, third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = multiply(x, x)
    x3 = multiply(x2, x)
    x4_over_4 = rounding_divide_by_pot(multiply(x2, x2), 2)
    tail = rounding_divide_by_pot(multiply(x4_over_4 + x3, third) + x2, 1)  # x^2/2 + x^3/6 + x^4/24
    return exp_of_minus_eighth + multiply(exp_of_minus_eighth, x + tail)


def _reciprocal_of_half_sum_with_one(a: IntArray) -> IntArray:
    """Q2 1 / ((1 + a) / 2) of Q0 a in [0, 1]: three Newton-Raphson steps from the usual linear first guess."""
    half_denominator = (a + ONE_Q0 + 1) >> 1  # a sum of positive numbers, halved and rounded
    x = 1515870810 + multiply(half_denominator, -1010580540)  # 48/17 - 32/17 d in Q2
    for _ in range(3):
        x = x + shift_left(multiply(x, ONE_Q2 - multiply(half_denominator, x)), 2)
    return x


def one_over_one_plus_x(a: IntArray) -> IntArray:
    """Q0 1 / (1 + a) of Q0 a in [0, 1]."""
    return shift_left(_reciprocal_of_half_sum_with_one(a), 1)


def logistic(a: IntArray, integer_bits: int) -> IntArray:
    """Q0 1 / (1 + exp(-a)) of Q<integer_bits> a; integer_bits <= 5."""
    positive = one_over_one_plus_x(exp_on_negative_values(-np.abs(a), integer_bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, ONE_Q0 - positive))


def tanh(a: IntArray, integer_bits: int) -> IntArray:
    """Q0 tanh(a) of Q<integer_bits> a; integer_bits <= 4."""
    # (1 - e) / (1 + e) with e = exp(-2 |a|); doubling only moves the binary point.
    e = exp_on_negative_values(-np.abs(a), integer_bits + 1)
    magnitude = shift_left(_reciprocal_of_half_sum_with_one(e) - ONE_Q2, 2)
    return np.where(a == 0, 0, np.where(a > 0, magnitude, -magnitude))
