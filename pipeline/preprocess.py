"""From raw sensor values to the model's int8 input, on the host and in the firmware alike.

The data set's normalisation is part of the model: real = (raw - mean[c]) / std[c]. For byte-sized raw values it becomes one
256-entry table per channel, built here once and compiled into the firmware, so the device takes raw bytes. When the table is
q = raw - 128 for every channel (one scale, folded into the input scale) the firmware flips one bit instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.errors import GraphError
from pipeline.fixedpoint import quantize
from pipeline.ir import Array, Quant, Tensor


@dataclass(frozen=True, slots=True)
class Normalization:
    """real = (raw - mean) / std in raw units; one value, or one per channel (the last axis)."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def apply(self, raw: Array) -> Array:
        mean, std = (np.asarray(v, dtype=np.float32) for v in (self.mean, self.std))
        return np.asarray((raw.astype(np.float32) - mean) / std, dtype=np.float32)

    def input_quant(self, raw_dtype: str) -> Quant | None:
        """The input quantisation under which q = raw - 128 (uint8) or q = raw (int8) exactly, or None when per channel or
        when the mean is not a whole number in range."""
        if raw_dtype not in ("uint8", "int8") or len(self.mean) != 1 or len(self.std) != 1:
            return None
        zero_point = self.mean[0] - (128 if raw_dtype == "uint8" else 0)
        if zero_point != round(zero_point) or not -128 <= zero_point <= 127:
            return None
        return Quant((1.0 / self.std[0],), int(zero_point))


@dataclass(frozen=True, slots=True, eq=False)
class Preprocess:
    """Raw bytes to int8: `tables[c][raw byte]`; (1, 256) for all channels alike, or (channels, 256)."""

    dtype: Literal["uint8", "int8"]
    tables: Array

    def __post_init__(self) -> None:
        if self.tables.ndim != 2 or self.tables.shape[1] != 256 or self.tables.dtype != np.int8:
            raise GraphError(f"preprocess tables must be int8 (channels, 256), got {self.tables.dtype}{self.tables.shape}")

    @property
    def is_offset(self) -> bool:
        """True when the table is q = raw - 128 for uint8, the identity for int8: no table in the firmware."""
        return len(self.tables) == 1 and bool(np.array_equal(self.tables[0], _bytes_as(self.dtype, offset=True)))

    def apply(self, raw: Array) -> Array:
        """int8 of the same shape; the last axis is the channel."""
        if raw.dtype != np.dtype(self.dtype):
            raise GraphError(f"the model takes raw {self.dtype} values, got {raw.dtype}")
        index = raw.view(np.uint8)
        if len(self.tables) == 1:
            return np.asarray(self.tables[0][index])
        return np.asarray(self.tables[np.arange(len(self.tables)), index])


def _bytes_as(dtype: str, *, offset: bool = False) -> Array:
    """The raw value that each byte 0..255 stands for; with `offset`, the int8 that folding gives it."""
    raw = np.arange(256, dtype=np.uint8)
    if dtype == "int8":
        return raw.view(np.int8)
    return (raw.astype(np.int16) - 128).astype(np.int8) if offset else raw


def byte_tables(normalization: Normalization, raw_dtype: Literal["uint8", "int8"], x: Quant, channels: int) -> Preprocess:
    """The preprocessing under which raw bytes become the int8 input with quantisation `x`."""
    same = len(normalization.mean) == len(normalization.std) == 1
    raw = np.repeat(_bytes_as(raw_dtype)[:, None], 1 if same else channels, axis=1)
    if normalization.input_quant(raw_dtype) == x:
        return Preprocess(raw_dtype, _bytes_as(raw_dtype, offset=True)[None, :].copy())
    return Preprocess(raw_dtype, np.ascontiguousarray(quantize(normalization.apply(raw), x.scale[0], x.zero_point).T))


def to_int8(raw: Array, x: Tensor, normalization: Normalization, preprocess: Preprocess | None) -> Array:
    """Raw examples (n, ...), the channel last, as the Graph's input `x` takes them: int8 (n, *x.shape). Bytes go through
    `preprocess`, as in the firmware; without it, raw values are floats and normalised and quantised here."""
    q = preprocess.apply(raw) if preprocess is not None else quantize(normalization.apply(raw), x.scale, x.zero_point)
    return np.ascontiguousarray(q.reshape(len(raw), *x.shape))
