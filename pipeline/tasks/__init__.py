"""What a model is for, one file a task: `<kind>.py` has the class `<Kind>`, and `<Kind>Recipe`, its recipe table."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from pipeline.errors import RecipeError, did_you_mean
from pipeline.strict import parse
from pipeline.tasks.task import Measure, Task, TaskRecipe

DEFAULT = "classification"
_SHARED = ("task", "class_names")


def names() -> tuple[str, ...]:
    """The folder's listing is the registry; nothing is imported."""
    return tuple(sorted(i.name for i in pkgutil.iter_modules(__path__) if i.name not in _SHARED))


def measures() -> dict[str, Measure]:
    """By name what every task calls its figures."""
    modules = (importlib.import_module(f"{__name__}.{kind}") for kind in names())
    return {m.name: m for module in modules for m in module.MEASURES}


def read_recipe(table: Mapping[str, Any], where: str) -> TaskRecipe:
    """The recipe's `[task]` table: `kind`, and the settings of that task. RecipeError when it is not one."""
    recipe: TaskRecipe = _read(table, where, "Recipe")
    return recipe


def read_task(stored: Mapping[str, Any], where: str) -> Task:
    """The task that `stored` wrote."""
    task: Task = _read(stored, where, "")
    return task


def _read(table: Mapping[str, Any], where: str, suffix: str) -> Any:
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where} must be a table, got {table!r}.")
    kind = table.get("kind", DEFAULT)
    if kind not in names():
        hint = did_you_mean(kind, names()) if isinstance(kind, str) else ""
        raise RecipeError(f"{where}.kind = {kind!r} is not known.{hint} Use one of: {', '.join(names())}.")
    cls = getattr(importlib.import_module(f"{__name__}.{kind}"), kind.capitalize() + suffix)
    return parse(cls, {k: v for k, v in table.items() if k != "kind"}, where)
