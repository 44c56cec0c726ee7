"""A data set that a function of the user's makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import RecipeError
from pipeline.host.users_code import users_object, wrap_user_errors
from pipeline.ir import Array


def users_arrays(
    source: str,
    arguments: Mapping[str, Any],
    folders: Sequence[Path],
    required: Sequence[str],
    optional: Sequence[str] = ("classes",),
) -> dict[str, Array]:
    """What the function that `source` names returns: the `required` arrays and those of the `optional` that are there.
    RecipeError when it fails, or returns anything else."""
    function = users_object("data.source", source, folders, "function")
    where = f"data.source {source!r}"
    with wrap_user_errors(f"{where} failed with arguments {dict(arguments)}"):
        found = function(**arguments)
    if not isinstance(found, Mapping):
        raise RecipeError(f"{where} must return a dict of the arrays {', '.join(required)}; got a {type(found).__name__}.")
    arrays: dict[str, Array] = {}
    for name in (*required, *(name for name in optional if name in found)):
        if not isinstance(found.get(name), np.ndarray):
            has = ", ".join(map(str, found)) or "nothing"
            got = f"it is a {type(found[name]).__name__}" if name in found else f"it has {has}"
            raise RecipeError(f"{where} must return {name!r} as a numpy array; {got}.")
        arrays[name] = found[name]
    return arrays
