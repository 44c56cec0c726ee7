"""What the tests of emulated boards share."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pipeline import target
from pipeline.ir import Array

M4 = target.load("cortex-m4")


def first_byte(value: int) -> Array:
    x = np.zeros((1, 16), np.int8)
    x[0, 0] = value
    return x


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
