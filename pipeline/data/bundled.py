"""The data sets that come with scikit-learn, split into training and test, and the scale of their values."""

from __future__ import annotations

import numpy as np

from pipeline.ir import Array

_TEST_SEED = 0
_TEST_FRACTION = 0.2


def _digits() -> dict[str, Array]:
    """1,797 real 8x8 images of handwritten digits, values 0..16, bundled with scikit-learn (UCI, CC BY 4.0)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return {**_split(bunch.images.astype(np.uint8), bunch.target, bunch.target), "classes": bunch.target_names}


def _diabetes() -> dict[str, Array]:
    """442 patients, bundled with scikit-learn: ten measurements each, and how far the disease went in a year, 25 to 346
    (Efron, Hastie, Johnstone and Tibshirani, Least angle regression, Annals of Statistics 32 (2004), 407-499)."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes()
    return _split(bunch.data.astype(np.float32), bunch.target.astype(np.float32), np.zeros(len(bunch.target), np.int64))


def _split(x: Array, y: Array, groups: Array) -> dict[str, Array]:
    rest, test = stratified(groups, _TEST_FRACTION, _TEST_SEED)
    return {"x_train": x[rest], "y_train": y[rest], "x_test": x[test], "y_test": y[test]}


BUNDLED = {"digits": _digits, "diabetes": _diabetes}
BUNDLED_SCALE = {
    "digits": (8.0, 8.0),  # 0..16 becomes -1..1, with a whole zero point: raw values fold into the input scale
    "diabetes": (0.0, 442**-0.5),  # scikit-learn scales each column to a sum of squares of 1
}
"""(mean, std) of the raw values."""


def stratified(y: Array, fraction: float, seed: int) -> tuple[Array, Array]:
    """Indexes (rest, chosen), each ascending; `chosen` is `fraction` of every class, at least one of each that has two."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(y), bool)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        count = min(max(int(fraction * len(members) + 1e-9), 1), len(members) - 1)
        chosen[members[:count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
