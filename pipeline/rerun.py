"""What a run's own recipe needs to be run again from anywhere: the user's code and data, in the run's folder or by hash."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.data.calibration import file_of, shipped
from pipeline.data.dataset import source_file
from pipeline.host.users_code import is_reference
from pipeline.host.users_sources import sources_of
from pipeline.recipe import Recipe
from pipeline.saved.index import file_sha256

CODE, DATA, CHECKPOINT = "code", "data", "checkpoint"
COPIED_BYTES = 8 << 20
"""Up to here a data file or a checkpoint is copied; a larger one is named by its path. Both have their sha256."""


def keep(recipe: Recipe, work: Path) -> Recipe:
    """The recipe as it is saved in `work`, a run's folder, after its modules and small files were copied there."""
    kept = replace(recipe, path=work.resolve() / "recipe.toml")
    code = {**sources_of([*references(recipe.settings())], recipe.code_folders), **_calibration(recipe)}
    for place, file in code.items():
        (work / CODE / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, work / CODE / place)
    kept = replace(kept, code=kept.folder / CODE if code else Path())
    if data := source_file(recipe.data.source, recipe.folder):
        file, digest = _kept_file(data, work / DATA)
        kept = replace(kept, data=replace(recipe.data, source=str(file), sha256=digest))
    if recipe.model.checkpoint:
        file, digest = _kept_file(recipe.folder / recipe.model.checkpoint.expanduser(), work / CHECKPOINT)
        kept = replace(kept, model=replace(recipe.model, checkpoint=file, checkpoint_sha256=digest))
    return kept


def _calibration(recipe: Recipe) -> dict[str, Path]:
    """The calibration sets that are no shipped ones, by their place below the code's folder."""
    names = {name for stage in recipe.stages if (name := getattr(stage, "calibration", ""))}
    files = [file_of(name, recipe.code_folders) for name in sorted(names)]
    return {f"calibration/{file.name}": file for file in files if file.parent != shipped().resolve()}


def references(settings: Mapping[str, Any]) -> Iterator[str]:
    """The module of each "module:Name" in a recipe's settings."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from references(value)
        for word in (key, *(value if isinstance(value, tuple | list) else [value])):
            if isinstance(word, str) and is_reference(word):
                yield word.partition(":")[0]


def _kept_file(file: Path, folder: Path) -> tuple[Path, str]:
    """Under its own name, by which a calibration set knows its data."""
    file = file.resolve()
    if file.stat().st_size <= COPIED_BYTES:
        folder.mkdir(exist_ok=True)
        file = Path(shutil.copyfile(file, folder.resolve() / file.name))
    return file, file_sha256(file)
