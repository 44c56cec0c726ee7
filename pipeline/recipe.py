"""A recipe is a TOML file: the data, the model, and one table per stage whose keys are the stage's own fields. This is the
only reader of recipes; everything a user can get wrong in one is refused here, before any work."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

from pipeline import stages as builtin
from pipeline.data.dataset import CLASSES, DataRecipe, require_source
from pipeline.data.source import ModelRecipe, require_model
from pipeline.errors import RecipeError, did_you_mean
from pipeline.host.users_code import is_reference, wrap_user_errors
from pipeline.locations import data_dir
from pipeline.stage import Idle, Stage, check_stages
from pipeline.stage_order import check_order, choose, references
from pipeline.strict import limits, parse, read_toml
from pipeline.target import Target
from pipeline.tasks import read_recipe
from pipeline.tasks.task import TaskRecipe, stored
from pipeline.tracking.tracker import TrackingRecipe

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SETTING = re.compile(r'\s*([\w-]+|"[\w.]+:\w+")(\.[\w-]+)*\s*')
_BARE_WORD = re.compile(r"[A-Za-z_./~][\w./:~-]*")


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. `path` is the file it came from, `overrides` what --set changed, `given` which settings of each
    stage the user wrote, `code` the folder of the user's modules, `references` where the user's own stages come from.
    Relative paths in `data` and `model` start at `folder`; those of the stages are absolute already."""

    name: str
    seed: int
    data: DataRecipe
    model: ModelRecipe
    stages: tuple[Stage, ...]
    path: Path
    overrides: tuple[str, ...] = ()
    given: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict, compare=False)
    code: Path = Path()
    task: TaskRecipe = CLASSES
    references: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)
    tracking: TrackingRecipe = dataclasses.field(default_factory=TrackingRecipe)

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def code_folders(self) -> tuple[Path, ...]:
        """Where the user's modules are looked for, in this order: the recipe's `code`, the current folder."""
        return _code_folders(self.folder, self.code)

    def settings(self) -> dict[str, Any]:
        """Every setting with its resolved value, as nested tables: what a recipe must say to be this one."""
        data = dataclasses.replace(self.data, source=_data_source(self.data.source, self.folder))
        return self._tables(data, _absolute(self.model, self.folder))

    def toml(self, targets: Sequence[Target], start: Path | None = None) -> str:
        """The same as TOML, without what is of no use on `targets`: it would be refused there. Paths are absolute; with a
        `start`, the folder that the text is for, those below the recipe's own folder are relative to it."""
        tables = self.settings()
        if self.code != Path():
            tables = {**dict(list(tables.items())[:1]), "code": self.code_folders[0], **tables}
        for stage in self.stages:
            idle = stage.unused(targets) if isinstance(stage, Idle) else {}
            key = self._table(stage)
            tables[key] = {k: v for k, v in tables[key].items() if k not in idle}
        for table, key in (name.split(".") for name in self.task.unused()):
            tables.get(table, {}).pop(key, None)
        return _toml(_moved(tables, self.folder, start) if start else tables)

    def sha256(self) -> str:
        """Identity of all settings, wherever the recipe's folder is."""
        tables = self._tables(self.data, self.model)
        text = json.dumps(tables, sort_keys=True, default=self._as_text)
        return hashlib.sha256(text.encode()).hexdigest()

    def _as_text(self, value: Any) -> str:
        """A path from the recipe's folder; a date or time, which JSON has not, as TOML has it."""
        return os.path.relpath(value, self.folder) if isinstance(value, Path) else toml_value(value)

    def _tables(self, data: DataRecipe, model: ModelRecipe) -> dict[str, Any]:
        tables: dict[str, Any] = {"name": self.name, "seed": self.seed, "stages": [*map(self._table, self.stages)]}
        tables["task"] = {k: v for k, v in stored(self.task).items() if v is not None and v != ()}
        parts = [("data", data), ("model", model), *((self._table(s), s) for s in self.stages)]
        for name, part in [*parts, *([("tracking", self.tracking)] if self.tracking != TrackingRecipe() else [])]:
            tables[name] = {k: v for k, v in _fields(part).items() if v is not None}
        return tables

    def _table(self, stage: Stage) -> str:
        return self.references.get(stage.name, stage.name)


def default_path() -> Path:
    return data_dir("examples") / "digits.toml"


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in `path` with each "key=value" of `overrides` applied. RecipeError (exit 2) when anything is wrong, the
    order of the stages and the files and names in it included; nothing is loaded yet."""
    if not path.exists():
        raise RecipeError(
            f"{path} does not exist. `pipeline init DIR` writes a recipe to start from; {default_path()} is one."
        )
    table = read_toml(path)
    for override in overrides:
        _merge(table, _override(override))
    where = str(path)
    known = [*(f.name for f in dataclasses.fields(_Head)), "task", "data", "model", "tracking", *builtin.names()]
    for key in table:
        if key not in known and not is_reference(key):
            raise RecipeError(
                f"{where}: {key}: unknown key.{did_you_mean(key, known)} Known keys: {', '.join(known)}, and stages "
                'of yours as "module:Class".'
            )
    head = parse(_Head, {f.name: table[f.name] for f in dataclasses.fields(_Head) if f.name in table}, f"{where}: ")
    if not _NAME.fullmatch(head.name):
        raise RecipeError(f"{where}: name = {head.name!r} must be letters, digits, '.', '_' or '-' (it names run folders).")
    for required in ("data", "model"):
        if required not in table:
            raise RecipeError(f"{where}: the table [{required}] is missing; {default_path()} shows one.")
    folder = path.resolve().parent
    task = read_recipe(table.get("task", {}), f"{where}: task")
    for name, why in task.unused().items():
        part, key = name.split(".")
        if isinstance(table.get(part), Mapping) and key in table[part]:
            raise RecipeError(f"{where}: {name} is of no use {why}")
    data = parse(DataRecipe, table["data"], f"{where}: data")
    model = parse(ModelRecipe, table["model"], f"{where}: model")
    tracking = parse(TrackingRecipe, table.get("tracking", {}), f"{where}: tracking")
    code_folders = _code_folders(folder, head.code)
    if not code_folders[0].is_dir():
        raise RecipeError(f"{where}: code = {str(head.code)!r}: {code_folders[0]} is no folder.")
    chosen = choose(head.stages, table, code_folders, where)
    own = references(chosen, where)
    stages = tuple(_stage(cls, table.get(key, {}), f"{where}: {key}", key in own.values()) for key, cls in chosen)
    check_order(stages)
    require_source(data, folder)
    require_model(model, folder)
    recipe = Recipe(
        name=head.name,
        seed=head.seed,
        task=task,
        data=data,
        model=model,
        stages=tuple(_absolute(s, folder) for s in stages),
        path=path.resolve(),
        overrides=tuple(overrides),
        given={cls.name: frozenset(table.get(key, {})) for key, cls in chosen},
        code=head.code,
        references=own,
        tracking=tracking,
    )
    check_stages(recipe, None, ())
    return recipe


@dataclass(frozen=True)
class _Head:
    name: str
    seed: int = limits(0, low=0, high=2**32 - 1)
    stages: tuple[str, ...] = ()
    code: Path = Path()


def _stage(cls: type[Stage], table: Any, where: str, own: bool) -> Stage:
    """The stage that its table describes; of the user's `own` ones `after` says the place alone."""
    if not own:
        return parse(cls, table, where)
    if isinstance(table, Mapping):
        table = {k: v for k, v in table.items() if k != "after"}
    with wrap_user_errors(f"{where} can not be made"):
        return parse(cls, table, where)


def _code_folders(folder: Path, code: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(((folder / code.expanduser()).resolve(), Path.cwd())))


def _data_source(source: str, folder: Path) -> str:
    """A file's absolute path; a built-in data set's name as it is."""
    looks_like_file = source.endswith(".npz") or "/" in source
    return str((folder / Path(source).expanduser()).resolve()) if looks_like_file else source


def _absolute(part: Any, folder: Path) -> Any:
    """`part` with each Path field made absolute: relative paths start at the recipe's folder."""
    paths = {k: v for k, v in _fields(part).items() if isinstance(v, Path)}
    return dataclasses.replace(part, **{k: (folder / v.expanduser()).resolve() for k, v in paths.items()})


def _fields(part: Any) -> dict[str, Any]:
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.init}


def _override(text: str) -> dict[str, Any]:
    """{"a": {"b": 0.4}} for "a.b=0.4". The value is TOML; a bare word counts as a string."""
    key, equals, value = text.partition("=")
    shape = "--set takes key=value with a TOML value, such as --set seed=3 or --set data.limit=200"
    if not equals or not _SETTING.fullmatch(key):
        raise RecipeError(f"--set {text}: {shape}.")
    if "\n" in value:  # TOML would read further keys from it
        raise RecipeError(f"--set {text!r}: {shape}, on one line.")
    for attempt in (value, f'"{value}"' if _BARE_WORD.fullmatch(value.strip()) else value):
        try:
            return tomllib.loads(f"{key} = {attempt.strip()}")
        except tomllib.TOMLDecodeError:
            continue
    raise RecipeError(f"--set {text}: {value.strip()!r} is not a TOML value. {shape}.")


def _merge(table: dict[str, Any], top: Mapping[str, Any]) -> None:
    for key, value in top.items():
        if isinstance(value, Mapping) and isinstance(table.get(key), dict):
            _merge(table[key], value)
        else:
            table[key] = value


def _moved(value: Any, folder: Path, start: Path) -> Any:
    """`value` with each path in it that lies below `folder` as it is found from `start`."""
    if isinstance(value, Mapping):
        return {k: _moved(v, folder, start) for k, v in value.items()}
    if isinstance(value, str | Path) and Path(value).is_absolute() and Path(value).is_relative_to(folder):
        return Path(os.path.relpath(value, start)).as_posix()
    return value


def _toml(table: Mapping[str, Any]) -> str:
    """Plain values first, then a [section] per nested table; nested tables inside those are inline."""
    plain = [f"{k} = {toml_value(v)}" for k, v in table.items() if not isinstance(v, Mapping)]
    sections = [
        "\n".join((f"\n[{toml_key(k)}]", *(f"{name} = {toml_value(v)}" for name, v in section.items())))
        for k, section in table.items()
        if isinstance(section, Mapping)
    ]
    return "\n".join((*plain, *sections)) + "\n"


def toml_key(name: str) -> str:
    """A table's name as TOML and --set take it."""
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else quoted(name)


def toml_value(value: Any) -> str:
    """A setting's value as TOML and --set take it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {toml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)  # inf and nan, too
    if isinstance(value, bool | int):
        return json.dumps(value)
    return quoted(str(value))


def quoted(text: str) -> str:
    """`text` as a TOML string, which is escaped as JSON's are."""
    return json.dumps(text, ensure_ascii=False)
