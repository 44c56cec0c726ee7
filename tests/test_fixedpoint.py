"""The rounding formulas: against exact arithmetic, against known TFLM values, and against the C that runs on devices."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.errors import GraphError
from pipeline.fixedpoint import (
    INT32_MAX,
    INT32_MIN,
    clamp_int8,
    dequantize,
    integer_matmul,
    quantize,
    quantize_multiplier,
    requantize,
    round_half_away,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
)
from pipeline.host.tools import find_compiler
from pipeline.locations import data_dir
from pipeline.proof.host_c import WARNINGS

int32 = st.integers(INT32_MIN, INT32_MAX) | st.sampled_from([INT32_MIN, INT32_MIN + 1, -1, 0, 1, INT32_MAX - 1, INT32_MAX])

C_SOURCE = """
#include "requant.h"
int32_t high_mul(int32_t a, int32_t b);
int32_t shift_right(int32_t x, int32_t exponent);
int32_t requantize(int32_t acc, int32_t multiplier, int32_t shift);
int32_t high_mul(int32_t a, int32_t b) { return nn_doubling_high_mul(a, b); }
int32_t shift_right(int32_t x, int32_t exponent) { return nn_rounding_shift_right(x, exponent); }
int32_t requantize(int32_t acc, int32_t multiplier, int32_t shift) { return nn_requantize(acc, multiplier, shift); }
"""


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """requant.h as the host's compiler sees it; undefined behaviour ends the process."""
    folder: Path = tmp_path_factory.mktemp("requant")
    (folder / "requant.c").write_text(C_SOURCE)
    library = folder / "requant.so"
    flags = [*WARNINGS, "-O2", "-shared", "-fPIC", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    kernels = data_dir("firmware_templates") / "kernels"
    subprocess.run([find_compiler(), *flags, "-I", kernels, folder / "requant.c", "-o", library], check=True)
    return ctypes.CDLL(str(library))


def half_away(x: Fraction) -> int:
    whole = abs(x).__floor__()
    return (1 if x >= 0 else -1) * (whole + (abs(x) - whole >= Fraction(1, 2)))


@given(a=int32, b=int32)
def test_high_mul_is_gemmlowps(a: int, b: int) -> None:
    """gemmlowp adds a nudge with the product's sign and divides towards zero."""
    nudge = (1 << 30) if a * b >= 0 else 1 - (1 << 30)
    quotient = abs(a * b + nudge) // (1 << 31) * (1 if a * b + nudge >= 0 else -1)
    expected = INT32_MAX if a == b == INT32_MIN else quotient
    assert saturating_rounding_doubling_high_mul(a, b) == expected


@given(x=int32, exponent=st.integers(0, 31))
def test_divide_by_pot_rounds_halves_away(x: int, exponent: int) -> None:
    assert rounding_divide_by_pot(x, exponent) == half_away(Fraction(x, 1 << exponent))


@given(a=int32, b=int32)
def test_high_mul_equals_c(c: ctypes.CDLL, a: int, b: int) -> None:
    assume(not a == b == INT32_MIN)  # requant.h says why that never comes
    assert saturating_rounding_doubling_high_mul(a, b) == c.high_mul(a, b)


@given(x=int32.filter(lambda x: x > INT32_MIN), exponent=st.integers(0, 31))
def test_divide_by_pot_equals_c(c: ctypes.CDLL, x: int, exponent: int) -> None:
    assert rounding_divide_by_pot(x, exponent) == c.shift_right(x, exponent)


@pytest.mark.parametrize("exponent", range(32))
def test_divide_by_pot_equals_c_around_halves_and_ends(c: ctypes.CDLL, exponent: int) -> None:
    half = 1 << exponent >> 1
    near = {sign * middle + d for sign in (-1, 1) for middle in (0, half, 3 * half, INT32_MAX) for d in (-1, 0, 1)}
    for x in (x for x in near if INT32_MIN < x <= INT32_MAX):
        assert c.shift_right(x, exponent) == half_away(Fraction(x, 1 << exponent)), x


@given(acc=int32, multiplier=st.integers(0, INT32_MAX), shift=st.integers(-31, 31))
def test_requantize_equals_c(c: ctypes.CDLL, acc: int, multiplier: int, shift: int) -> None:
    assert requantize(acc, multiplier, shift) == c.requantize(acc, multiplier, shift)


@pytest.mark.parametrize("shift", [-31, -30, -1, 0, 1, 30, 31])
@pytest.mark.parametrize("multiplier", [0, 1, 1 << 30, INT32_MAX])
def test_requantize_at_the_extremes(c: ctypes.CDLL, multiplier: int, shift: int) -> None:
    """Against exact fractions: one wrap to the left, then two roundings, the first of halves up."""
    for acc in (INT32_MIN, INT32_MIN + 1, -1, 0, 1, INT32_MAX - 1, INT32_MAX):
        shifted = (acc * 2 ** max(shift, 0) + 2**31) % 2**32 - 2**31
        high = (Fraction(shifted * multiplier, 2**31) + Fraction(1, 2)).__floor__()
        expected = half_away(Fraction(high, 2 ** max(-shift, 0)))
        assert requantize(acc, multiplier, shift) == c.requantize(acc, multiplier, shift) == expected, acc


HALF = 1 << 30  # the multiplier that stands for one half


@pytest.mark.parametrize(
    ("acc", "multiplier", "shift", "expected"),
    [
        (1, HALF, -1, 1),  # 0.25: rounded once it would be 0
        (-1, HALF, -1, 0),
        (5, HALF, -1, 2),  # 1.25: rounded once it would be 1
        (-5, HALF, -1, -1),
        (-7, HALF, -1, -2),
        (3, HALF, 0, 2),  # 1.5, half up
        (-3, HALF, 0, -1),  # -1.5, half up: the first rounding is not symmetric
        (6, HALF, -1, 2),  # 1.5, half away
        (-6, HALF, -1, -2),  # -1.5, half away: the second rounding is
        (1000, 1518500250, -3, 88),  # 88.39
        (1 << 20, HALF, 12, 0),  # the left shift wraps around
        (1 << 19, HALF, 12, -(1 << 30)),
        (INT32_MIN, INT32_MAX, 0, INT32_MIN + 1),
        (INT32_MAX, INT32_MAX, -31, 1),
        (INT32_MIN, INT32_MAX, -31, -1),
        (12345, 0, 0, 0),
    ],
)
def test_known_vectors_pin_double_rounding(acc: int, multiplier: int, shift: int, expected: int) -> None:
    assert requantize(acc, multiplier, shift) == expected


@given(real=st.floats(2.0**-31, 2.0**31 - 1))
def test_quantize_multiplier_is_the_nearest(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    assert HALF <= multiplier <= INT32_MAX
    exact = Fraction(real) / Fraction(2) ** (shift - 31)
    assert abs(exact - multiplier) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (1.0, (HALF, 1)),
        (0.25, (HALF, -1)),
        (1 - 2.0**-40, (HALF, 1)),  # rounds up to the next power of two
        (2.0**-33, (0, 0)),  # too small to matter
        (2.0**-32, (HALF, -31)),
        (2.0**31 - 1, (INT32_MAX, 31)),
        (0.0003921568627, (1724724122, -11)),
    ],
)
def test_quantize_multiplier_known(real: float, expected: tuple[int, int]) -> None:
    assert quantize_multiplier(real) == expected


@pytest.mark.parametrize("real", [2.0**31, 1e30, float("inf")])
def test_absurd_ratio_is_refused(real: float) -> None:
    with pytest.raises(GraphError, match="too large for 32-bit arithmetic"):
        quantize_multiplier(real)


@given(st.floats(-1e12, 1e12))
def test_round_half_away(x: float) -> None:
    assert float(round_half_away(x)) == half_away(Fraction(x))


def test_round_half_away_at_halves() -> None:
    x = np.array([0.5, -0.5, 1.5, 2.5, -2.5, 0.49999999999999994, -0.49999999999999994])
    np.testing.assert_array_equal(round_half_away(x), [1, -1, 2, 3, -3, 0, 0])


@given(q=st.integers(-128, 127), scale=st.floats(2.0**-20, 2.0**20, width=32), zero_point=st.integers(-128, 127))
def test_quantize_undoes_dequantize(q: int, scale: float, zero_point: int) -> None:
    assert quantize(dequantize(np.int8(q), scale, zero_point), scale, zero_point) == q


@pytest.mark.parametrize(("real", "expected"), [(0.05, 4), (-0.05, 2), (0.25, 6), (100.0, 127), (-100.0, -128)])
def test_quantize_rounds_away_and_saturates(real: float, expected: int) -> None:
    assert quantize(real, 0.1, 3) == expected


def test_clamp() -> None:
    np.testing.assert_array_equal(clamp_int8(np.array([-1000, -5, 7, 1000])), [-128, -5, 7, 127])
    assert clamp_int8(np.array([1000]), high=6).dtype == np.int8


@pytest.mark.parametrize("terms", [1, 513, 514, 5000])
def test_integer_matmul_is_exact_at_its_worst(terms: int) -> None:
    """Extremes that float32 would round once it runs out of bits."""
    rng = np.random.default_rng(terms)
    a = np.where(rng.random((3, terms)) < 0.9, -255, 254)
    b = np.where(rng.random((terms, 2)) < 0.9, -128, 127)
    multiply: Callable[..., object] = integer_matmul
    np.testing.assert_array_equal(multiply(a, b), a @ b)


@pytest.mark.parametrize("terms", [514, 515])
def test_integer_matmul_is_exact_around_the_last_sum_that_float32_holds(terms: int) -> None:
    a, b = np.full((1, terms), 255), np.full((terms, 1), -128)
    b[-1] = -127  # an odd sum
    multiply: Callable[..., object] = integer_matmul
    np.testing.assert_array_equal(multiply(a, b), a @ b)
