"""Which stages a recipe goes through, and in what order: built-in ones, and the user's own, named "module:Class"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import stages as builtin
from pipeline.artifacts import Measured
from pipeline.data.source import Source
from pipeline.errors import RecipeError, did_you_mean
from pipeline.host.users_code import is_reference, users_object
from pipeline.stage import Stage

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_WHAT_IT_IS = (
    "A stage is a frozen dataclass with the class variables name, consumes and produces, and run(artifact, ctx): "
    "pipeline/stage.py says more."
)
Chosen = tuple[tuple[str, type[Stage]], ...]
"""Each stage's table in the recipe, and its class."""


def choose(listed: Sequence[str], table: Mapping[str, Any], folders: Sequence[Path], where: str) -> Chosen:
    """The recipe's own `stages` when it has some; else the built-in order without the optional ones that have no table (or
    `<stage> = false`), and each of the user's stages that has a table `after` the one it names, or where it fits last."""
    own = [key for key in table if is_reference(key) and table[key] is not False]
    if listed:
        tables = [name for name in builtin.names() if table.get(name, False) is not False]
        return tuple((name, _class(name, folders, where)) for name in _known(listed, [*tables, *own], where))
    order = [n for n in builtin.ORDER if n not in builtin.OPTIONAL or table.get(n, False) is not False]
    chosen = [(name, builtin.find(name)) for name in order]
    for key in own:
        cls = _class(key, folders, where)
        after = table[key].get("after") if isinstance(table[key], Mapping) else None
        place = _fitting(key, cls, chosen, where) if after is None else _named(key, after, chosen, where)
        chosen.insert(place, (key, cls))
    return tuple(chosen)


def references(chosen: Chosen, where: str) -> dict[str, str]:
    """By the name of each of the user's stages its table. RecipeError when a name is taken."""
    found: dict[str, str] = {}
    for key, cls in chosen:
        if not is_reference(key):
            continue
        if cls.name in builtin.names() or found.get(cls.name, key) != key:
            other = f"{found[cls.name]!r} has it" if cls.name in found else "a built-in stage has it"
            raise RecipeError(f"{where}: {key}: its name is {cls.name!r}, and {other}. Give the class another name.")
        found[cls.name] = key
    return found


def check_order(stages: Sequence[Stage]) -> None:
    """RecipeError unless each stage takes what the one before it gives, from a Source to a Measured."""
    gives: type = Source
    before = "the recipe"
    for stage in stages:
        if not issubclass(gives, stage.consumes):
            raise RecipeError(
                f"stages: {stage.name!r} takes a {stage.consumes.__name__}, but {before} gives a {gives.__name__}. "
                f"The order given is {', '.join(s.name for s in stages)}."
            )
        gives, before = stage.produces, repr(stage.name)
    if gives is not Measured:
        raise RecipeError(f"stages: the last must be {builtin.ORDER[-1]!r}; {before} gives a {gives.__name__}.")


def _known(listed: Sequence[str], tables: Sequence[str], where: str) -> Sequence[str]:
    known = list(dict.fromkeys((*builtin.names(), *tables)))
    for name in listed:
        if name not in known and not is_reference(name):
            raise RecipeError(
                f"{where}: stages: unknown stage {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}, and your "
                'own as "module:Class".'
            )
    left = [key for key in tables if key not in listed]
    if left:
        raise RecipeError(f"{where}: {left[0]}: `stages` does not list it, so its table is of no use. Add it there.")
    return listed


def _class(name: str, folders: Sequence[Path], where: str) -> type[Stage]:
    if not is_reference(name):
        return builtin.find(name)
    cls = users_object(f"{where}: stage", name, folders, "class")
    missing = [part for part in ("name", "consumes", "produces", "run") if not hasattr(cls, part)]
    frozen = getattr(getattr(cls, "__dataclass_params__", None), "frozen", False)
    is_class, why = isinstance(cls, type), ""
    if not is_class:
        why = f"it is a {type(cls).__name__}"
    elif missing:
        why = f"it has no `{missing[0]}`"
    elif not frozen:
        why = "it is no frozen dataclass"
    elif not isinstance(cls.name, str) or not _NAME.fullmatch(cls.name):
        why = f"its name {cls.name!r} must be lower-case letters, digits, '_' or '-' (it names a folder)"
    elif not isinstance(cls.consumes, type) or not isinstance(cls.produces, type):
        why = "`consumes` and `produces` must be artifact classes, such as FloatModel of pipeline.artifacts"
    if why:
        raise RecipeError(f"{where}: {name!r} is no stage: {why}. {_WHAT_IT_IS}")
    return cls  # type: ignore[no-any-return]


def _named(key: str, after: Any, chosen: Sequence[tuple[str, type[Stage]]], where: str) -> int:
    names = [cls.name for _, cls in chosen]
    if after not in names:
        raise RecipeError(
            f"{where}: {key}.after = {after!r} is no stage of this recipe.{did_you_mean(str(after), names)} It has: "
            f"{', '.join(names)}."
        )
    return names.index(after) + 1


def _fitting(key: str, cls: type[Stage], chosen: Sequence[tuple[str, type[Stage]]], where: str) -> int:
    """Behind the last stage that gives what it takes, and that what it gives may stand between."""
    takers = [*(c.consumes for _, c in chosen[1:]), None]
    for place in range(len(chosen), 0, -1):
        taker = takers[place - 1]
        if issubclass(chosen[place - 1][1].produces, cls.consumes) and (taker is None or issubclass(cls.produces, taker)):
            return place
    raise RecipeError(
        f"{where}: {key} takes a {cls.consumes.__name__} and gives a {cls.produces.__name__}, which fits nowhere in "
        f"{', '.join(c.name for _, c in chosen)}. List all stages in `stages`, in their order."
    )
