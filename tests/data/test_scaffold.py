"""`pipeline init`: what it writes loads, fits together, and is never left half-written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import recipe, scaffold
from pipeline.data import dataset, source
from pipeline.errors import RecipeError


def test_recipe_model_and_data_fit_together(tmp_path: Path) -> None:
    folder = tmp_path / "my own project"
    files = scaffold.scaffold(folder)
    assert files == tuple(folder / name for name in ("recipe.toml", "model.py", "data.npz"))
    read = recipe.load(files[0])
    data = dataset.load(read.data, read.seed, read.folder)
    assert source.load(read.model, data, read.seed, read.folder).checkpoint is None  # it gives ten logits for such images


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(RecipeError) as e:
            scaffold.scaffold(folder)
        assert str(e.value) == f"{folder} already exists and is not an empty folder; nothing was written. Name a new one."
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, **arrays: Any) -> None:
        path.write_bytes(b"PK")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez_compressed", full)
        with pytest.raises(RecipeError) as e:
            scaffold.scaffold(tmp_path / "new")
    assert str(e.value) == (
        f"{tmp_path / 'new'} can not be written: No space left on device. Name a folder you may write to."
    )
    assert list((tmp_path / "new").iterdir()) == []
    assert len(scaffold.scaffold(tmp_path / "new")) == 3  # the second try finds an empty folder
