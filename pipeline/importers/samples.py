"""Calibration inputs for models that are not int8 yet: real inputs, as the model takes them, from an .npz file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.data.npz import read_npz
from pipeline.errors import RecipeError
from pipeline.ir import Array

SAMPLES = 500
"""Spread evenly over the file: ranges found on more differ little, and each costs an inference of the float model."""

Shape = tuple[int, ...]


def samples(path: Path, inputs: Sequence[tuple[str, Shape]]) -> list[tuple[Array, ...]]:
    """One tuple of float32 arrays (1, *shape) per sample for the model's `inputs`, (name, shape without batch) each.

    The file holds `x` (or `x_train`), or `input_0`, `input_1`... for several inputs, (n, *shape) of any number type. Images
    are taken channels last, too, by a model that has them first. RecipeError when the file does not fit.
    """
    numbered = [f"input_{i}" for i in range(len(inputs))]
    arrays = read_npz(path, (), ("x", "x_train", *numbered))
    found = [arrays[n] for n in numbered if n in arrays] or [arrays[n] for n in ("x", "x_train") if n in arrays][:1]
    if len(found) != len(inputs):
        wanted = "`x`" if len(inputs) == 1 else ", ".join(f"`{n}`" for n in numbered)
        raise RecipeError(f"calibration {path} must hold {wanted}: one array of real inputs for each input of the model.")
    fitted = [_fitted(x, name, shape, path) for x, (name, shape) in zip(found, inputs, strict=True)]
    n = len(fitted[0])
    if n == 0 or any(len(x) != n for x in fitted):
        raise RecipeError(f"calibration {path} holds no samples, or not equally many for each input of the model.")
    chosen = np.unique(np.linspace(0, n - 1, min(n, SAMPLES)).astype(int))
    return [tuple(x[i : i + 1].astype(np.float32) for x in fitted) for i in chosen]


def _fitted(x: Array, name: str, shape: Shape, path: Path) -> Array:
    where = f"calibration {path}, input {name!r}"
    if x.dtype.kind not in "uif" or x.ndim == 0:
        raise RecipeError(f"{where} is {x.dtype}{x.shape}; it must hold numbers of shape (n, {', '.join(map(str, shape))}).")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise RecipeError(f"{where} holds NaN or infinity; remove or mend those samples.")
    if _wide(x.shape[1:]) == _wide(shape):
        return x.reshape(len(x), *shape)
    first = np.moveaxis(x, -1, 1) if x.ndim > 2 else x
    if first.shape[1:] == shape:
        return first
    raise RecipeError(
        f"{where} holds samples of shape {x.shape[1:]}, the model takes {shape}. Give them as the model takes them (images "
        "may have their channels last)."
    )


def _wide(shape: Shape) -> list[int]:
    return [d for d in shape if d != 1]
