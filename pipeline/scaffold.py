"""`pipeline init`: a recipe, a model and data that run as they are, to be replaced one by one with the user's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from pipeline.data.dataset import DataRecipe, load
from pipeline.errors import RecipeError
from pipeline.locations import data_dir


def scaffold(folder: Path) -> tuple[Path, ...]:
    """Write recipe.toml, model.py and data.npz into `folder`, which must be new or empty. The files written."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise RecipeError(f"{folder} already exists and is not an empty folder; nothing was written. Name a new one.")
    template = data_dir("examples") / "own_model"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [Path(shutil.copyfile(template / name, folder / name)) for name in ("recipe.toml", "model.py")]
        digits = load(DataRecipe(source="digits"), seed=0)
        data = folder / "data.npz"
        np.savez_compressed(
            data,
            x_train=np.concatenate([digits.x_train, digits.x_val]),
            y_train=np.concatenate([digits.y_train, digits.y_val]),
            x_test=digits.x_test,
            y_test=digits.y_test,
            classes=np.array(digits.classes),
        )
    except OSError as e:
        raise RecipeError(f"{folder} can not be written: {e.strerror}. Name a folder you may write to.") from None
    return (*written, data)
