"""Fused activations: how a name becomes the clamp on the quantised output."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pipeline.fixedpoint import round_half_away
from pipeline.ir import Tensor

Activation = Literal["none", "relu", "relu6", "relu_n1_to_1"]

TFLITE_ACTIVATION: dict[Activation, str] = {
    "none": "NONE",
    "relu": "RELU",
    "relu6": "RELU6",
    "relu_n1_to_1": "RELU_N1_TO_1",
}
_BOUNDS: dict[Activation, tuple[float | None, float | None]] = {
    "none": (None, None),
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
    "relu_n1_to_1": (-1.0, 1.0),
}


def clamp_range(activation: Activation, y: Tensor) -> tuple[int, int]:
    """(min, max) of the int8 output. Source: CalculateActivationRangeQuantized in TFLite's kernel_util.cc."""

    def bound(real: float | None, otherwise: int) -> int:
        if real is None:
            return otherwise
        with np.errstate(over="ignore"):  # a tiny scale gives infinity, which the clamp takes in
            q = y.zero_point + float(round_half_away(np.float32(real) / np.float32(y.scale)))
        return int(min(127.0, max(-128.0, q)))

    low, high = _BOUNDS[activation]
    return bound(low, -128), bound(high, 127)
