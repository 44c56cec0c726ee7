"""What every JSON output must hold to: its schema in docs/schemas, and a kind for each number."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).resolve().parent.parent / "docs" / "schemas"
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list, "string": str, "null": type(None), "integer": int, "number": (int, float), "boolean": bool,
}  # fmt: skip
ANNOTATIONS = {"$schema", "$defs", "title", "description"}
CHECKED = {
    "$ref", "type",
    "const", "enum", "anyOf", "minimum", "maximum", "items", "properties", "required", "additionalProperties",
}  # fmt: skip


def check(output: Mapping[str, Any], schema: str) -> None:
    """AssertionError for the first thing in `output` that its schema does not allow, or a number without a kind."""
    root = json.loads((SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8"))
    found = [*faults(output, root, root), *(f"{at} has no kind" for at in without_kind(output))]
    assert not found, found


def faults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str = "$") -> Iterator[str]:
    """Where `value` is not as `schema` says, by those keywords of JSON Schema that our files use. KeyError for any other, so
    that no rule is passed over."""
    if unknown := schema.keys() - ANNOTATIONS - CHECKED:
        raise KeyError(f"{at}: the test does not know the keyword {sorted(unknown)}")
    if reference := schema.get("$ref"):
        file, _, inner = reference.partition("#/$defs/")
        top = json.loads((SCHEMAS / file).read_text(encoding="utf-8")) if file else root
        yield from faults(value, top["$defs"][inner] if inner else top, top, at)
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if wanted and not any(isinstance(value, TYPES[t]) and (not isinstance(value, bool) or t == "boolean") for t in wanted):
        yield f"{at}: {value!r} is no {' or '.join(wanted)}"
    if "const" in schema and value != schema["const"]:
        yield f"{at}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if "anyOf" in schema and all(list(faults(value, option, root, at)) for option in schema["anyOf"]):
        yield f"{at}: {value!r} is none of what is allowed"
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{at}: {value!r} is out of range"
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from faults(item, schema.get("items", {}), root, f"{at}[{i}]")
    if isinstance(value, dict):
        yield from (f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value)
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        for name, item in value.items():
            if name not in known and others is False:
                yield f"{at}.{name} is not in the schema"
            else:
                yield from faults(item, known.get(name, others), root, f"{at}.{name}")


def without_kind(value: Any, kinds: Any = None, at: str = "$") -> Iterator[str]:
    """The numbers in `value` of which nothing says a kind. An object's kinds are in its own `kinds`, or in that of an object
    around it, under its name; `metrics` alone are named beside their `kinds` directly."""
    if isinstance(value, dict):
        own = value.get("kinds", kinds) or {}
        for name, item in value.items():
            if name not in ("kinds", "format"):
                yield from without_kind(item, own if name == "metrics" else own.get(name), f"{at}.{name}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from without_kind(item, kinds, f"{at}[{i}]")
    elif isinstance(value, int | float) and not isinstance(value, bool) and not isinstance(kinds, str):
        yield at
