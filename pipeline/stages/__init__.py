"""The built-in stages: listing this folder finds them. One in ORDER runs unless it is OPTIONAL and the recipe has no table
for it; any other runs where the recipe's `stages` names it."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.stage import Stage

ORDER = ("train", "prune", "distill", "quantize", "codegen", "measure")
OPTIONAL = ("prune", "distill")


def names() -> list[str]:
    """Every stage there is; those of ORDER first."""
    found = {info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")}
    return [n for n in ORDER if n in found] + sorted(found - set(ORDER))


def find(name: str) -> type[Stage]:
    module = importlib.import_module(f"{__name__}.{name}")
    cls: type[Stage] = getattr(module, "".join(part.capitalize() for part in name.split("_")))
    return cls
