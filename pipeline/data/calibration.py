"""Calibration sets: which real images decide the int8 ranges. Described in `calibration/<name>.toml`, so that the choice is
reviewed and repeated like code.

Images are ranked by the hash of their own bytes, not by a random generator or by their place in a file: the same set comes
out on every machine, whatever the recipe's seed and split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.data.dataset import Dataset
from pipeline.errors import RecipeError, did_you_mean
from pipeline.ir import Array
from pipeline.locations import data_dir
from pipeline.strict import limits, parse, read_toml

MAX_SEED = 2**64 - 1
"""It keys the hash, as eight bytes."""


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """`count` images of `source` ("digits" or an npz file's name). `split` "train" is every image outside the test split (so
    it does not depend on the recipe's seed), "validation" the recipe's validation split. `balanced`: the same number from
    each class. `sha256` of the chosen raw bytes is checked when given."""

    source: str
    split: Literal["train", "validation"] = "train"
    count: int = limits(200, low=1, high=100_000)
    balanced: bool = True
    seed: int = limits(0, low=0, high=MAX_SEED)
    sha256: str = ""


@dataclass(frozen=True, eq=False)
class Selection:
    """Raw images (n, H, W, C) and the sha256 of their bytes."""

    images: Array
    sha256: str


def find(name: str, around: Sequence[Path] = ()) -> CalibrationSet:
    """The set called `name`. RecipeError when unknown or invalid."""
    path = file_of(name, around)
    return parse(CalibrationSet, read_toml(path), str(path))


def file_of(name: str, around: Sequence[Path] = ()) -> Path:
    """The set's file, from the folder `calibration` in each of `around` (without them: the current folder), or a shipped
    one. RecipeError when there is none."""
    places = [*(folder / "calibration" for folder in around or (Path(),)), shipped()]
    folders = list(dict.fromkeys(place.resolve() for place in places if place.is_dir()))
    known = sorted({p.stem for d in folders for p in d.glob("*.toml")})
    if name not in known:
        raise RecipeError(
            f"quantize.calibration = {name!r} is not known.{did_you_mean(name, known)} Known sets: "
            f"{', '.join(known) or 'none'}; they are .toml files in {' and '.join(map(str, folders))}."
        )
    return next(p for d in folders if (p := d / f"{name}.toml").is_file())


def shipped() -> Path:
    return data_dir("calibration")


def select(chosen: CalibrationSet, data: Dataset, name: str = "") -> Selection:
    """The images of the set. RecipeError when the data is not the set's, a class has no image, or the bytes differ."""
    called = f"calibration set {name!r}" if name else "the calibration set"
    if chosen.source != data.source:
        raise RecipeError(f"{called} is for {chosen.source!r}, but the recipe's data is {data.source!r}; name another set.")
    if chosen.split == "train":
        x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    else:
        x, y = data.x_val, data.y_val
    groups, group = data.task.groups, data.task.group(y)
    empty = [c for i, c in enumerate(groups) if not (group == i).any()]
    if empty:
        raise RecipeError(
            f"{called} has no image of class {', '.join(map(repr, empty))}: the {chosen.split} split holds none. Its ranges "
            "would be guesses. Add such images, or remove the class from data.classes."
        )
    images = x[_ranked(x, group, chosen, len(groups))]
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    if chosen.sha256 and chosen.sha256 != digest:
        raise RecipeError(
            f"{called}: the chosen images' sha256 is {digest}, the file says {chosen.sha256}. The data is not what the set "
            "was made for; if the change is meant, write the new sha256 into the file."
        )
    return Selection(images, digest)


def _ranked(x: Array, y: Array, chosen: CalibrationSet, classes: int) -> Array:
    """Indexes of the chosen images, in the order of their keyed hashes."""
    key = chosen.seed.to_bytes(8, "little")
    hashes = np.array([hashlib.blake2b(image.tobytes(), digest_size=8, key=key).digest() for image in x], dtype="S8")
    order = np.lexsort((np.arange(len(x)), hashes))
    if not chosen.balanced:
        return order[: chosen.count]
    quota = [chosen.count // classes + (i < chosen.count % classes) for i in range(classes)]
    rank = np.zeros(len(x), np.int64)  # within its class
    for i in range(classes):
        members = order[y[order] == i]
        rank[members] = np.arange(len(members))
    return order[rank[order] < np.array(quota)[y[order]]]
