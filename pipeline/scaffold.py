"""`pipeline init`: a recipe, a model and data that run as they are, to be replaced one by one with the user's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.data.dataset import DataRecipe, load
from pipeline.errors import RecipeError
from pipeline.locations import data_dir


def scaffold(folder: Path) -> tuple[Path, ...]:
    """Write recipe.toml, model.py and data.npz into `folder`, which must be new or empty. The files written; RecipeError
    when it can not be done, and then none is left."""
    template = data_dir("examples") / "own_model"
    files = recipe, model, data = folder / "recipe.toml", folder / "model.py", folder / "data.npz"
    try:
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise RecipeError(f"{folder} already exists and is not an empty folder; nothing was written. Name a new one.")
        folder.mkdir(parents=True, exist_ok=True)
        digits = load(DataRecipe(source="digits"), seed=0)
        with _all_or_none(files):
            shutil.copyfile(template / recipe.name, recipe)
            shutil.copyfile(template / model.name, model)
            np.savez_compressed(
                data,
                x_train=np.concatenate([digits.x_train, digits.x_val]),
                y_train=np.concatenate([digits.y_train, digits.y_val]),
                x_test=digits.x_test,
                y_test=digits.y_test,
                classes=np.array(digits.classes),
            )
    except OSError as e:
        raise RecipeError(f"{folder} can not be written: {e.strerror or e}. Name a folder you may write to.") from None
    return files


@contextmanager
def _all_or_none(files: Iterable[Path]) -> Iterator[None]:
    """No half-written project stays, which would also keep a second try from the folder."""
    try:
        yield
    except BaseException:
        for path in files:
            path.unlink(missing_ok=True)
        raise
