"""Tables from TOML into frozen dataclasses, strictly: unknown keys, wrong types and values out of range are refused with
the key's full name and what would work. Recipes, targets, calibration sets and bench files are all read through here."""

from __future__ import annotations

import dataclasses
import math
import sys
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pipeline.display import short
from pipeline.errors import PipelineError, RecipeError, did_you_mean

T = TypeVar("T")
MAX_TOML_BYTES = 1_000_000


def limits(default: Any = dataclasses.MISSING, *, low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field whose value must lie in [low, high] (each element of a tuple must)."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


NO_KEY: Mapping[str, Any] = types.MappingProxyType({"key": False})
"""The metadata of a dataclass field that no table may give: the program sets it."""


def read_toml(path: Path, error: type[PipelineError] = RecipeError) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TOML_BYTES + 1)  # a device's size can not be asked for
        if len(text) > MAX_TOML_BYTES:
            raise error(f"{path} is larger than {MAX_TOML_BYTES:,} bytes; this is not a settings file.")
        return tomllib.loads(text.decode("utf-8"))
    except FileNotFoundError:
        raise error(f"{path} does not exist.") from None
    except OSError as e:
        raise error(f"{path} can not be read: {e.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise error(f"{path} is not valid TOML: {e}.") from None


def parse(cls: type[T], table: Any, where: str, error: type[PipelineError] = RecipeError) -> T:
    """An instance of the dataclass `cls` from `table`; `where` prefixes every message: "recipe.toml: prune" for a table in a
    file, "target.toml: " for the file itself."""
    assert dataclasses.is_dataclass(cls)
    top, key_prefix = where.removesuffix(": "), where if where.endswith(": ") else f"{where}."
    if not isinstance(table, Mapping):
        raise error(f"{top} must be a table, got {table!r}.")
    known = {f.name: f for f in dataclasses.fields(cls) if f.init and f.metadata.get("key", True)}
    hints = typing.get_type_hints(cls)
    for key in table:
        if key not in known:
            raise error(f"{key_prefix}{key}: unknown key.{did_you_mean(key, known)} Known keys: {', '.join(known)}.")
    values: dict[str, Any] = {}
    for name, f in known.items():
        if name in table:
            values[name] = convert(hints[name], table[name], f"{key_prefix}{name}", error)
            _check_range(f, values[name], f"{key_prefix}{name}", error)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise error(f"{key_prefix}{name} is missing. It must be given.")
    try:
        return typing.cast(T, cls(**values))
    except ValueError as e:  # a dataclass's own __post_init__ check
        raise error(f"{top}: {e}") from None


def _check_range(f: dataclasses.Field[Any], value: Any, where: str, error: type[PipelineError]) -> None:
    low, high = f.metadata.get("low"), f.metadata.get("high")
    for v in value if isinstance(value, tuple) else (value,):
        if isinstance(v, float) and not math.isfinite(v):
            raise error(f"{where} = {v} is not a finite number.")
        if v is None or isinstance(v, str | bool):
            continue
        if (low is not None and v < low) or (high is not None and v > high):
            raise error(f"{where} = {v} is out of range; it must be {_bounds(low, high)}.")


def _bounds(low: float | None, high: float | None) -> str:
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"between {low} and {high}"


def convert(hint: Any, value: Any, where: str, error: type[PipelineError]) -> Any:
    """`value` as the annotated type, or an error that says what is wanted."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return convert(next(a for a in args if a is not type(None)), value, where, error)
    if origin is typing.Literal:
        if value in args:
            return value
        known = [str(a) for a in args]
        raise error(f"{where} = {value!r} is not known.{did_you_mean(str(value), known)} Use one of: {', '.join(known)}.")
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(convert(args[0], v, f"{where}[{i}]", error) for i, v in enumerate(items))
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            raise error(f"{where} must be a table, got {value!r}.")
        return {str(k): convert(args[1], v, f"{where}.{k}", error) for k, v in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else parse(hint, value, where, error)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < sys.float_info.max:
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is Any or (isinstance(value, hint) and not (hint is int and isinstance(value, bool))):
        return value
    raise error(f"{where} must be a{'n' if hint is int else ''} {_noun(hint)}, got {short(repr(value), 80)}.")


def _noun(hint: Any) -> str:
    return {int: "integer", float: "number", str: "string", bool: "boolean (true or false)", Path: "path"}.get(
        hint, str(hint)
    )
