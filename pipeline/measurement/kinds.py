"""Kinds in JSON: beside its figures, each object has `kinds`, which says of each number how it came to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.measurement.kind import Kind

FORMAT = 1
"""Of every JSON output: `format`: one more when a name goes or changes its meaning. docs/schemas/ has what is in them."""


def kinds(figures: Mapping[str, Any], kind: Kind, **others: Kind) -> dict[str, Any]:
    """By name the kind of each number, or list of numbers, in `figures`: what `others` says, else `kind`. For an object of
    figures a mapping, for what is no number (a figure that is not there, a text) nothing."""

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    found: dict[str, Any] = {}
    for name, value in figures.items():
        own = others.get(name, kind)
        if isinstance(value, Mapping):
            found |= {name: inner} if (inner := kinds(value, own)) else {}
        elif is_number(value) or (isinstance(value, list | tuple) and value and all(map(is_number, value))):
            found[name] = own
    return found
