"""What a request holds, checked: nothing in it is trusted."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any


class Refused(Exception):
    """A request that can not be met; `name` is for programs, the message for people."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def field(
    request: dict[str, Any], name: str, kind: type, default: Any = None, low: float | None = None, high: float | None = None
) -> Any:
    """request[name], of this type and in these bounds; `default` when it is not given."""
    value = request.get(name, default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Refused("BadRequest", f"{name} must be of type {kind.__name__}, got {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused("BadRequest", f"{name} is not a finite number")
    if low is not None and high is not None and not low <= value <= high:
        raise Refused("BadRequest", f"{name} must be between {low} and {high}, got {value}")
    return value


def choice(request: dict[str, Any], name: str, known: Collection[str], default: str) -> str:
    """request[name], one of `known`; `default` when it is not given."""
    value: str = field(request, name, str, default)
    if value not in known:
        raise Refused("BadRequest", f"{name} must be one of {', '.join(known)}")
    return value
