"""The settings that a saved artifact was made with, and whether the recipe of a run that starts from it has them still."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError
from pipeline.recipe import Recipe, toml_key, toml_value
from pipeline.saved.index import MadeWith, file_sha256
from pipeline.stage import Idle, Stage
from pipeline.target import Target

_FILE = "sha256:"


def made_with(recipe: Recipe, steps: Sequence[tuple[str, Stage]], last: str) -> MadeWith:
    """The settings behind what `last`, one of the recipe's `steps` by its folder's name, makes. The data's are not there: an
    artifact knows its data by their sha256."""
    through = [name for name, _ in steps].index(last) + 1
    model = recipe.model
    if model.checkpoint:
        model = replace(model, checkpoint=recipe.folder / model.checkpoint.expanduser())
    return MadeWith(
        recipe.seed,
        {k: v for k, v in _plain_fields(model).items() if k != "checkpoint_sha256"},
        {name: _plain_fields(stage) for name, stage in steps[:through]},
    )


def require_made_with(
    made: MadeWith, recipe: Recipe, steps: Sequence[tuple[str, Stage]], last: str, targets: Sequence[Target], what: str
) -> None:
    """RecipeError, beginning with `what`, when the recipe's settings up to `last` are not those that were `made` with. What
    is of no use on `targets` may differ: a run's own recipe leaves it out."""
    now = made_with(recipe, steps, last)
    if list(made.stages) != list(now.stages):
        raise RecipeError(
            f"{what} went through {', '.join(made.stages) or 'no stage'}, and the recipe's stages up to {last} are "
            f"{', '.join(now.stages)}. Give the recipe that its run saved."
        )
    _require_same("seed", made.seed, now.seed, "", what)
    for key in (key for key in now.model if key in made.model):
        _require_same(f"model.{key}", made.model[key], now.model[key], "", what)
    earlier = ""
    for name, stage in steps[: len(now.stages)]:
        table, old, new = toml_key(recipe.references.get(stage.name, stage.name)), made.stages[name], now.stages[name]
        idle = stage.unused(targets) if isinstance(stage, Idle) else {}
        for key in (key for key in new if key in old and key not in idle):
            _require_same(f"{table}.{key}", old[key], new[key], earlier, what)
        earlier = name


def _require_same(key: str, old: Any, new: Any, earlier: str, what: str) -> None:
    """`earlier` is the last stage whose artifact has nothing to do with the setting; "" when there is none."""
    if old == new:
        return
    if isinstance(old, str) and old.startswith(_FILE):
        was, mend = f"with the file of {old} as {key}", "Give that file"
    elif old is None:
        was, mend = f"without {key}", "Leave it out"
    else:
        was, mend = f"with {key} = {toml_value(old)}", f"Give --set {shlex.quote(f'{key}={toml_value(old)}')}"
    another = isinstance(new, str) and new.startswith(_FILE)
    says = "leaves it out" if new is None else "gives another" if another else f"says {toml_value(new)}"
    start = f"start from {earlier}" if earlier else "run the recipe from its beginning"
    raise RecipeError(f"{what} was made {was}, and the recipe {says}. {mend}, or {start}.")


def _plain_fields(part: Any) -> dict[str, Any]:
    return {f.name: _plain(getattr(part, f.name)) for f in fields(part) if f.init}


def _plain(value: Any) -> Any:
    """As JSON gives it back. A file is its content, wherever it lies."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [*map(_plain, value)]
    if isinstance(value, Path):
        return _FILE + file_sha256(value) if value.is_file() else str(value)
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
