"""Built-in networks, one file each with `build((C, H, W), outputs, **arguments) -> nn.Module`: what a task needs, raw."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def names() -> tuple[str, ...]:
    """The folder's listing is the registry; nothing is imported."""
    return tuple(sorted(i.name for i in pkgutil.iter_modules(__path__) if not i.name.startswith("_")))


def find(name: str) -> Callable[..., nn.Module] | None:
    if name not in names():
        return None
    build: Any = importlib.import_module(f"{__name__}.{name}").build
    return build  # type: ignore[no-any-return]
