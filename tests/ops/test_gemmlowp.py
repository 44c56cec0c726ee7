"""gemmlowp's fixed-point functions: close to the real ones, and the division the same in the C that runs on devices."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fixedpoint import INT32_MAX
from pipeline.host.tools import find_compiler
from pipeline.locations import data_dir
from pipeline.ops._gemmlowp import exp_on_negative_values, logistic, one_over_one_plus_x, tanh
from pipeline.proof.host_c import WARNINGS

Q0 = 2.0**31
TAYLOR = 2.0**-22  # what gemmlowp's exp loses by ending its series at x**4
C_SOURCE = """
#include "softmax_s8.h"
int32_t divide(int32_t x);
int32_t divide(int32_t x) { return nn_one_over_one_plus_x(x); }
"""


@pytest.mark.parametrize("integer_bits", [4, 5])
def test_exp(integer_bits: int) -> None:
    raw = -np.linspace(0, INT32_MAX, 20001).astype(np.int64)
    real = np.exp(raw * 2.0 ** (integer_bits - 31))
    np.testing.assert_allclose(exp_on_negative_values(raw, integer_bits) / Q0, real, atol=TAYLOR)


def test_one_over_one_plus_x() -> None:
    raw = np.linspace(0, INT32_MAX, 20001).astype(np.int64)
    np.testing.assert_allclose(one_over_one_plus_x(raw) / Q0, 1 / (1 + raw / Q0), atol=2.0**-27)


def test_logistic_and_tanh() -> None:
    raw = np.linspace(-INT32_MAX, INT32_MAX, 20001).astype(np.int64)
    real = raw * 2.0 ** (4 - 31)
    np.testing.assert_allclose(logistic(raw, 4) / Q0, 1 / (1 + np.exp(-real)), atol=TAYLOR)
    np.testing.assert_allclose(tanh(raw, 4) / Q0, np.tanh(real), atol=TAYLOR)


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The division of softmax_s8.h; undefined behaviour ends the process."""
    folder = tmp_path_factory.mktemp("softmax")
    (folder / "divide.c").write_text(C_SOURCE)
    flags = [*WARNINGS, "-O2", "-shared", "-fPIC", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    kernels = data_dir("firmware_templates") / "kernels"
    subprocess.run([find_compiler(), *flags, "-I", kernels, folder / "divide.c", "-o", folder / "divide.so"], check=True)
    return ctypes.CDLL(str(folder / "divide.so"))


@given(x=st.integers(0, INT32_MAX) | st.sampled_from([0, 1, INT32_MAX - 1, INT32_MAX]))
def test_one_over_one_plus_x_equals_c(c: ctypes.CDLL, x: int) -> None:
    assert c.divide(x) == one_over_one_plus_x(np.array(x))
