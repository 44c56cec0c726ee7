"""Classes by index and by name, for every task whose data has some."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.errors import RecipeError
from pipeline.ir import Array
from pipeline.tasks.task import Given

MAX_CLASSES = 10_000
"""A higher label is a mistake, or an id that is no class index: so many outputs fit no microcontroller."""

_MAX_NAME = 100  # characters of a class's name


def class_indexes(y: Array, count: int, where: str) -> Array:
    """(n,) int64 class indexes, 0 to MAX_CLASSES - 1."""
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.dtype.kind not in "ui" or y.shape != (count,):
        hint = ""
        if y.dtype.kind == "f":
            hint = ' For numbers to be predicted say [task] kind = "regression".'
        elif y.dtype.kind in "uib" and y.ndim == 2 and len(y) == count:
            hint = ' For several labels at once say [task] form = "multi_label".'
        raise RecipeError(
            f"{where} is {y.dtype}{y.shape}; it must hold {count} whole-number class indexes, one an image.{hint}"
        )
    wrong = (y < 0) | (y >= MAX_CLASSES)
    if wrong.any():
        first = int(np.argmax(wrong))
        label = int(y[first])
        meaning = f", which would make {label + 1:,} classes" if label > 0 else ""
        raise RecipeError(
            f"{where} holds the label {label:,} (example {first}){meaning}. Labels are class indexes: 0 for the first "
            f"class, 1 for the second, at most {MAX_CLASSES - 1:,}. numpy.unique(labels, return_inverse=True)[1] makes them "
            "of any labels."
        )
    return y.astype(np.int64)


def class_names(given: Given, highest: int) -> tuple[str, ...]:
    """The classes' names: the recipe's, else the file's, else the labels themselves. `highest` is the highest label."""
    where = given.where
    in_file = None if given.stored is None else stored_names(given.stored, where)
    if given.names and in_file and len(given.names) != len(in_file):
        raise RecipeError(
            f"{where}: data.classes names {len(given.names)} classes but the file {len(in_file)}; make them agree."
        )
    if given.names and in_file and given.names != in_file and sorted(given.names) == sorted(in_file):
        moved = next(i for i, pair in enumerate(zip(given.names, in_file, strict=True)) if pair[0] != pair[1])
        raise RecipeError(
            f"{where}: data.classes has the file's names in another order: class {moved} is {given.names[moved]!r} in the "
            f"one, {in_file[moved]!r} in the other. Leave data.classes out."
        )
    classes = given.names or in_file or tuple(map(str, range(highest + 1)))
    for name in classes:
        if not name.isprintable() or not 0 < len(name) <= _MAX_NAME:
            raise RecipeError(f"{where}: the class name {name[:30]!r} must be 1 to {_MAX_NAME} printable characters.")
    if len(set(classes)) != len(classes):
        twice = Counter(classes).most_common(1)[0][0]
        raise RecipeError(f"{where}: more than one class is called {twice!r}; each needs a name of its own.")
    if highest >= len(classes):
        raise RecipeError(
            f"{where}: label {highest} is out of range, there are {len(classes)} classes (0 to {len(classes) - 1}): "
            f"{', '.join(classes[:12])}."
        )
    return classes


def stored_names(stored: Array, where: str) -> tuple[str, ...]:
    """A file's `classes`."""
    if stored.dtype.kind not in "USiu" or stored.size > MAX_CLASSES:
        raise RecipeError(
            f"{where}: classes is {stored.dtype}{stored.shape}; it must hold a name for each class, {MAX_CLASSES:,} at most."
        )
    names = np.char.decode(stored, "utf-8", "replace") if stored.dtype.kind == "S" else stored
    return tuple(str(c) for c in names.reshape(-1))
