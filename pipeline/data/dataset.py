"""Data sets: those that scikit-learn bundles, or an npz file. Raw values as the sensor gives them, NHWC; no torch here.

The test split never depends on the seed, so that figures from different seeds compare; validation is drawn with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.bundled import BUNDLED, BUNDLED_SCALE, stratified
from pipeline.data.npz import read_npz, require_sha256
from pipeline.data.users_arrays import users_arrays
from pipeline.errors import RecipeError, did_you_mean
from pipeline.host.users_code import is_reference
from pipeline.ir import Array
from pipeline.preprocess import Normalization
from pipeline.strict import limits
from pipeline.tasks.classification import ClassificationRecipe
from pipeline.tasks.task import Examples, Given, Task, TaskRecipe

_MAX_NORMALIZED = 1e15  # its squares still fit float32, with room for the sums of a batch
_INPUTS, _LABELS = ("x_train", "x_test"), ("y_train", "y_test")
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_HINT = f"Give the path of an .npz file with {', '.join(_ARRAYS)}, as numpy.savez writes it."

CLASSES = ClassificationRecipe()
"""The task of a recipe that names none."""

_DEFAULT_STD = {"uint8": 255.0, "int8": 128.0, "float32": 1.0}


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """The recipe's `[data]` table. `source` is "digits", an npz file, whose `sha256` is checked when it is given, or
    "package.module:function", called as function(**arguments), which returns the arrays that such a file has. `mean` and
    `std` are in raw units (one value, or one a channel); left out, uint8 becomes 0..1 and int8 -1..1. `limit` caps the
    development images (training and validation). `shift` (pixels) and `flip` (left to right) are changes that leave an
    image's class as it is: the training stages draw from them."""

    source: str = "digits"
    sha256: str | None = None
    arguments: dict[str, Any] | None = None
    validation: float = limits(0.2, low=0.01, high=0.9)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = limits(None, low=1e-6)
    classes: tuple[str, ...] | None = None
    limit: int | None = limits(None, low=10)
    shift: int = limits(0, low=0, high=8)
    flip: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    """Raw images (n, H, W, C) of dtype uint8, int8 or float32 and labels (n, ...) as `task` has them, in three splits.
    `sha256` is of all that can change a result: values, labels, splits, task, normalisation, augmentation."""

    name: str
    x_train: Array
    y_train: Array
    x_val: Array
    y_val: Array
    x_test: Array
    y_test: Array
    task: Task
    normalization: Normalization
    sha256: str
    source: str = ""  # "digits" or another bundled one, or the npz file's name: what a calibration set is checked against
    stored_dtype: str = ""  # of the images in the file; all but uint8 and int8 are taken as float32
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

    @property
    def classes(self) -> tuple[str, ...]:
        """What labels stand for; empty where the task has none."""
        return self.task.classes

    def validation_examples(self) -> Examples:
        return self._examples(self.x_val, self.y_val)

    def test_examples(self, n: int | None = None) -> Examples:
        """The first n."""
        return self._examples(self.x_test[:n], self.y_test[:n])

    def _examples(self, raw: Array, labels: Array) -> Examples:
        def inputs() -> Array:
            return self.normalization.apply(raw).transpose(0, 3, 1, 2).reshape(len(raw), -1)

        return Examples(labels, inputs)

    def profile(self) -> dict[str, str | int]:
        """A few words for reports: sizes, shape, dtype, task, classes."""
        sizes = {f"{s}_images": len(getattr(self, f"y_{s}")) for s in ("train", "val", "test")}
        shape = "x".join(map(str, self.x_train.shape[1:]))
        known = {"classes": len(self.classes)} if self.classes else {"task": self.task.kind}
        return {**sizes, "shape": shape, "dtype": self.stored_dtype or self.raw_dtype, **known}


def load(
    recipe: DataRecipe,
    seed: int,
    folder: Path = Path(),
    task_recipe: TaskRecipe = CLASSES,
    code_folders: Sequence[Path] | None = None,
) -> Dataset:
    """The data set `recipe` describes, for the task that `task_recipe` does; a relative path in it is relative to `folder`,
    modules are looked up in `code_folders` (without them: `folder`, the current one). RecipeError says what is wrong."""
    name, source, arrays = _arrays(recipe, folder, task_recipe.labelled, code_folders or (folder.resolve(), Path.cwd()))
    where = f"data source {recipe.source!r}"
    x, x_test = images(arrays["x_train"], f"{where}: x_train"), images(arrays["x_test"], f"{where}: x_test")
    y_train, y_test = arrays.get("y_train"), arrays.get("y_test")
    given = Given(where, len(x), len(x_test), y_train, y_test, recipe.classes, arrays.get("classes"))
    labelled = task_recipe.made_for(given)
    task, y, y_test = labelled.task, labelled.y_train, labelled.y_test
    stored, stored_test = arrays["x_train"].dtype, arrays["x_test"].dtype
    if x.shape[1:] != x_test.shape[1:] or x.dtype != x_test.dtype:
        raise RecipeError(
            f"{where}: x_train holds {stored} images of {_hwc(x)} but x_test {stored_test} of {_hwc(x_test)}; "
            "both need the same dtype and shape."
        )
    normalization = _normalization(recipe, x)
    for part, values in (("x_train", x), ("x_test", x_test)):
        _check_range(values, normalization, f"{where}: {part}")
    x, y = x[labelled.used], y[labelled.used]
    if recipe.limit is not None and recipe.limit < len(y):
        _, chosen = stratified(task.group(y), recipe.limit / len(y), seed)
        x, y = x[chosen], y[chosen]
    train, val = stratified(task.group(y), recipe.validation, seed)
    if not len(val) or not len(train):
        raise RecipeError(f"{where}: {len(y)} images leave none for training or validation; give more data.")
    task = labelled.fitted(y[train]) if labelled.fitted else task
    splits = (x[train], y[train], x[val], y[val], x_test, y_test)
    described = (task, normalization, recipe.shift, recipe.flip)
    return Dataset(
        name,
        *splits,
        task,
        normalization,
        sha256=_sha256(splits, repr(described)),
        source=source,
        stored_dtype=str(stored),
        shift=recipe.shift,
        flip=recipe.flip,
    )


def require_source(recipe: DataRecipe, folder: Path) -> None:
    """RecipeError when the file that `recipe` names is not there, or a setting does nothing beside its source; no more than
    that is looked at."""
    path, own = source_file(recipe.source, folder), is_reference(recipe.source)
    for key, given, takes in (("arguments", recipe.arguments, own), ("sha256", recipe.sha256, path is not None)):
        if given is not None and not takes:
            raise RecipeError(f"data.{key} is of no use with source = {recipe.source!r}. Leave it out.")


def _arrays(
    recipe: DataRecipe, folder: Path, labelled: bool, code_folders: Sequence[Path]
) -> tuple[str, str, dict[str, Array]]:
    """(the data set's name, its source's, its arrays); labels may be missing when it need not be `labelled`."""
    required, optional = (_ARRAYS, ()) if labelled else (_INPUTS, _LABELS)
    path = source_file(recipe.source, folder)
    if is_reference(recipe.source):
        return (
            recipe.source.partition(":")[0],
            recipe.source,
            users_arrays(recipe.source, recipe.arguments or {}, code_folders, required, ("classes", *optional)),
        )
    if path is None:
        return recipe.source, recipe.source, BUNDLED[recipe.source]()
    require_sha256(path, recipe.sha256, "data.sha256")
    return path.stem, path.name, read_npz(path, required, ("classes", *optional), hint=_HINT)


def source_file(source: str, folder: Path) -> Path | None:
    """The npz file that `data.source` names, relative to `folder`; None for a bundled one and a function of the user's.
    RecipeError when it is none of these."""
    if source in BUNDLED or is_reference(source):
        return None
    if not source.endswith(".npz"):
        bundled = ", ".join(f'"{name}"' for name in BUNDLED)
        raise RecipeError(
            f"data.source = {source!r} is not known.{did_you_mean(source, BUNDLED)} "
            f'Use {bundled}, the path of an .npz file, or your own function as "package.module:function".'
        )
    path = folder / Path(source).expanduser()
    if not path.is_file():
        raise RecipeError(f"{path} does not exist. {_HINT}")
    return path


def images(x: Array, where: str) -> Array:
    """NHWC in uint8, int8 or (all other numbers) float32: (n, features) becomes (n, 1, 1, features), (n, H, W) gets one
    channel."""
    if x.dtype.kind not in "uif" or x.ndim not in (2, 3, 4):
        raise RecipeError(
            f"{where} is {x.dtype}{x.shape}; it must hold numbers of shape (n, features), (n, H, W) or (n, H, W, C)."
        )
    if not x.size:
        raise RecipeError(f"{where} is empty: its shape is {x.shape}. It must hold one image or more.")
    if x.dtype not in (np.uint8, np.int8):
        with np.errstate(over="ignore"):  # found below
            x = x.astype(np.float32)
        finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
        if not finite.all():
            raise RecipeError(
                f"{where} holds NaN, infinity or a value beyond float32 (3.4e38), first in example "
                f"{int(np.argmin(finite))}; remove or mend it."
            )
    if x.ndim == 2:
        return x[:, None, None, :]
    return x[..., None] if x.ndim == 3 else x


def _normalization(recipe: DataRecipe, x: Array) -> Normalization:
    middle, spread = BUNDLED_SCALE.get(recipe.source, (0.0, _DEFAULT_STD[str(x.dtype)]))
    mean, std = recipe.mean or (middle,), recipe.std or (spread,)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, x.shape[3]):
            raise RecipeError(
                f"data.{name} has {len(values)} values but the images {x.shape[3]} channels; give 1 or that many."
            )
    return Normalization(mean, std)


def _check_range(x: Array, normalization: Normalization, where: str) -> None:
    """RecipeError when normalised values would overflow float32 in the network."""
    with np.errstate(over="ignore"):
        extremes = normalization.apply(np.stack([x.min(axis=(0, 1, 2)), x.max(axis=(0, 1, 2))]))
    if not (np.abs(extremes) <= _MAX_NORMALIZED).all():
        largest = max(extremes.ravel(), key=abs)
        raise RecipeError(
            f"{where} holds values that normalise to {largest:.3g}, (raw - data.mean) / data.std: a network overflows on "
            "them. Choose data.mean and data.std so that values come near -1..1, and remove what is no real measurement."
        )


def _hwc(x: Array) -> str:
    return "x".join(map(str, x.shape[1:]))


def _sha256(arrays: Sequence[Array], described: str) -> str:
    h = hashlib.sha256(described.encode())
    for a in arrays:
        h.update(repr((a.shape, str(a.dtype))).encode())
        h.update(np.ascontiguousarray(a).data)
    return h.hexdigest()
