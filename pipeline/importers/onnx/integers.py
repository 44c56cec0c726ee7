"""Constants of an ONNX file that are stored as integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array


@dataclass(frozen=True, slots=True, eq=False)
class Integers:
    """A constant as integers: real = scale * (values - zero), the latter along `axis` where they are several."""

    values: Array
    scale: Array
    zero: Array
    axis: int | None

    @property
    def real(self) -> Array:
        along = [1] * self.values.ndim
        if self.axis is not None:
            along[self.axis] = -1
        zero, scale = (np.asarray(v, np.float64).reshape(along if v.size > 1 else ()) for v in (self.zero, self.scale))
        return np.asarray((self.values.astype(np.float64) - zero) * scale)
