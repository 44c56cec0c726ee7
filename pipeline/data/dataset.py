"""Data sets: scikit-learn's bundled digits, or an npz file. Raw values as the sensor gives them, NHWC; no torch here.

The test split never depends on the seed, so that figures from different seeds compare; validation is drawn with it.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import RecipeError
from pipeline.ir import Array
from pipeline.preprocess import Normalization
from pipeline.strict import limits

MAX_BYTES = 8 * 2**30
"""Of an npz file's arrays, uncompressed. Larger data would not fit a workstation's memory beside its training."""

_BROKEN_FILE = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    zlib.error,
    zipfile.BadZipFile,
)
"""What zipfile and numpy raise on damaged archives (NotImplementedError: a compression they lack; RuntimeError: a key)."""

_TEST_SEED = 0
_TEST_FRACTION = 0.2
_DEFAULT_STD = {"uint8": 255.0, "int8": 128.0, "float32": 1.0}


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """The recipe's `[data]` table. `mean` and `std` are in raw units (one value, or one a channel); left out, uint8 becomes
    0..1 and int8 -1..1. `limit` caps the development images (training and validation). `shift` (pixels) and `flip` (left to
    right) are changes that leave an image's class as it is: the training stages draw from them."""

    source: str = "digits"
    validation: float = limits(0.2, low=0.01, high=0.9)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = limits(None, low=1e-6)
    classes: tuple[str, ...] | None = None
    limit: int | None = limits(None, low=10)
    shift: int = limits(0, low=0, high=8)
    flip: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    """Raw images (n, H, W, C) of dtype uint8, int8 or float32 and labels (n,) int64, in three splits. `sha256` is of all
    that can change a result: values, labels, splits, classes, normalisation, augmentation."""

    name: str
    x_train: Array
    y_train: Array
    x_val: Array
    y_val: Array
    x_test: Array
    y_test: Array
    classes: tuple[str, ...]
    normalization: Normalization
    sha256: str
    source: str = ""  # "digits", or the npz file's name: what a calibration set is checked against
    shift: int = 0
    flip: bool = False

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image, as torch has it."""
        h, w, c = self.x_train.shape[1:]
        return c, h, w

    @property
    def raw_dtype(self) -> str:
        return str(self.x_train.dtype)

    def profile(self) -> dict[str, str | int]:
        """A few words for reports: sizes, shape, dtype, classes."""
        sizes = {f"{s}_images": len(getattr(self, f"y_{s}")) for s in ("train", "val", "test")}
        shape = "x".join(map(str, self.x_train.shape[1:]))
        return {**sizes, "shape": shape, "dtype": self.raw_dtype, "classes": len(self.classes)}


def load(recipe: DataRecipe, seed: int, folder: Path = Path()) -> Dataset:
    """The data set `recipe` describes; a relative path in it is relative to `folder`. RecipeError says what is wrong."""
    if recipe.source == "digits":
        name, arrays = "digits", _digits()
    elif recipe.source.endswith(".npz"):
        path = folder / Path(recipe.source).expanduser()
        name, arrays = path.stem, read_npz(path, ("x_train", "y_train", "x_test", "y_test"), ("classes",))
    else:
        raise RecipeError(f'data.source = {recipe.source!r} is not known. Use "digits" or the path of an .npz file.')
    where = f"data source {recipe.source!r}"
    x, x_test = images(arrays["x_train"], f"{where}: x_train"), images(arrays["x_test"], f"{where}: x_test")
    y = labels(arrays["y_train"], len(x), f"{where}: y_train")
    y_test = labels(arrays["y_test"], len(x_test), f"{where}: y_test")
    if x.shape[1:] != x_test.shape[1:] or x.dtype != x_test.dtype:
        raise RecipeError(
            f"{where}: x_train holds {x.dtype} images of {_hwc(x)} but x_test {x_test.dtype} of {_hwc(x_test)}; "
            "both need the same dtype and shape."
        )
    classes = _classes(recipe.classes, arrays.get("classes"), int(max(y.max(), y_test.max())), where)
    normalization = _normalization(recipe, x)
    if recipe.limit is not None and recipe.limit < len(y):
        _, chosen = stratified(y, recipe.limit / len(y), seed)
        x, y = x[chosen], y[chosen]
    train, val = stratified(y, recipe.validation, seed)
    if not len(val) or not len(train):
        raise RecipeError(f"{where}: {len(y)} images leave none for training or validation; give more data.")
    splits = (x[train], y[train], x[val], y[val], x_test, y_test)
    described = (classes, normalization, recipe.shift, recipe.flip)
    source = "digits" if recipe.source == "digits" else Path(recipe.source).name
    return Dataset(
        name, *splits, classes, normalization, _sha256(splits, repr(described)), source, recipe.shift, recipe.flip
    )


def _digits() -> dict[str, Array]:
    """1,797 real 8x8 images of handwritten digits, values 0..16, bundled with scikit-learn (UCI, CC BY 4.0)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.images.astype(np.uint8), bunch.target
    rest, test = stratified(y, _TEST_FRACTION, _TEST_SEED)
    return {"x_train": x[rest], "y_train": y[rest], "x_test": x[test], "y_test": y[test], "classes": bunch.target_names}


def read_npz(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Array]:
    """The named arrays of an npz file, never unpickling; RecipeError when missing, broken or absurdly large."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise RecipeError(f"{path} holds {size:,} bytes of arrays, more than the {MAX_BYTES:,} that are loaded at most.")
        with np.load(path, allow_pickle=False) as file:
            missing = [n for n in required if n not in file.files]
            if missing:
                have = ", ".join(file.files) or "none"
                raise RecipeError(f"{path} has no array {missing[0]!r}; it needs {', '.join(required)}, it has {have}.")
            return {n: file[n] for n in (*required, *optional) if n in file.files}
    except FileNotFoundError:
        raise RecipeError(f"{path} does not exist. Give the path of an .npz file with {', '.join(required)}.") from None
    except _BROKEN_FILE as e:
        raise RecipeError(
            f"{path} can not be read as an .npz file of plain arrays ({e}). Write it with numpy.savez(x_train=..., ...)."
        ) from None


def images(x: Array, where: str) -> Array:
    """NHWC in uint8, int8 or float32: (n, features) becomes (n, 1, 1, features), (n, H, W) gets one channel."""
    if x.dtype.kind not in "uif" or x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise RecipeError(
            f"{where} is {x.dtype}{x.shape}; it must hold numbers of shape (n, features), (n, H, W) or (n, H, W, C)."
        )
    if x.dtype not in (np.uint8, np.int8):
        x = x.astype(np.float32)
        finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
        if not finite.all():
            raise RecipeError(
                f"{where} holds NaN or infinity, first in example {int(np.argmin(finite))}; remove or mend it."
            )
    if x.ndim == 2:
        return x[:, None, None, :]
    return x[..., None] if x.ndim == 3 else x


def labels(y: Array, count: int, where: str) -> Array:
    """(n,) int64 class indexes from 0."""
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.dtype.kind not in "ui" or y.shape != (count,):
        raise RecipeError(f"{where} is {y.dtype}{y.shape}; it must hold {count} whole-number class indexes, one an image.")
    if y.min() < 0:
        raise RecipeError(f"{where} holds {int(y.min())}; class indexes start at 0.")
    return y.astype(np.int64)


def _classes(given: tuple[str, ...] | None, stored: Array | None, highest: int, where: str) -> tuple[str, ...]:
    in_file = None if stored is None else tuple(str(c) for c in stored.reshape(-1))
    if given and in_file and len(given) != len(in_file):
        raise RecipeError(f"{where}: data.classes names {len(given)} classes but the file {len(in_file)}; make them agree.")
    classes = given or in_file or tuple(map(str, range(highest + 1)))
    if highest >= len(classes):
        raise RecipeError(
            f"{where}: label {highest} is out of range, there are {len(classes)} classes (0 to {len(classes) - 1}): "
            f"{', '.join(classes[:12])}."
        )
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise RecipeError(f"{where}: classes must be at least two different names, got {', '.join(classes[:12])}.")
    return classes


def _normalization(recipe: DataRecipe, x: Array) -> Normalization:
    digits = recipe.source == "digits"  # 0..16 becomes -1..1, with a whole zero point: raw values fold into the input scale
    mean = recipe.mean or ((8.0,) if digits else (0.0,))
    std = recipe.std or ((8.0,) if digits else (_DEFAULT_STD[str(x.dtype)],))
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, x.shape[3]):
            raise RecipeError(
                f"data.{name} has {len(values)} values but the images {x.shape[3]} channels; give 1 or that many."
            )
    return Normalization(mean, std)


def stratified(y: Array, fraction: float, seed: int) -> tuple[Array, Array]:
    """Indexes (rest, chosen), each ascending; `chosen` is `fraction` of every class, at least one of each that has two."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(y), bool)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        count = min(max(int(fraction * len(members) + 1e-9), 1), len(members) - 1)
        chosen[members[:count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _hwc(x: Array) -> str:
    return "x".join(map(str, x.shape[1:]))


def _sha256(arrays: Sequence[Array], described: str) -> str:
    h = hashlib.sha256(described.encode())
    for a in arrays:
        h.update(repr((a.shape, str(a.dtype))).encode())
        h.update(np.ascontiguousarray(a).data)
    return h.hexdigest()
