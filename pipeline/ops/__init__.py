"""One file per operator. Adding one: `ops/<op>.py`, `tests/ops/cases/<op>.py`, and `firmware_templates/kernels/<op>_s8.h`
where no kernel that is there computes it."""

from __future__ import annotations

import importlib
import pkgutil

from pipeline.ir import Op


def all_ops() -> dict[str, type[Op]]:
    """Every operator by its file's name: the folder's listing is the registry."""
    found: dict[str, type[Op]] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        found[info.name] = next(
            c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Op) and c.__module__ == module.__name__
        )
    return found
