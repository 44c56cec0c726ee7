"""artifact.json: what a folder with a saved artifact holds, for which data, made with which settings, and the sha256 of each
of its files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.data.dataset import Dataset
from pipeline.display import short
from pipeline.errors import PipelineError, RecipeError
from pipeline.locations import version
from pipeline.strict import parse

INDEX = "artifact.json"
FORMAT = 2
MAX_JSON_BYTES = 64 << 20
MAX_ARRAY_BYTES = 2**30
"""Of one file's arrays, uncompressed: a thousand times what a microcontroller holds."""

Kind = Literal["float_model", "quantized_model", "package"]


class NotSavedError(PipelineError):
    """The artifact has no saved form; the run that made it goes on."""


@dataclass(frozen=True, slots=True)
class DataIdentity:
    """The data set that an artifact was made from. It is read from the recipe again, and must be this one."""

    name: str
    source: str
    sha256: str
    shape: tuple[int, ...]

    @staticmethod
    def of(data: Dataset) -> DataIdentity:
        return DataIdentity(data.name, data.source, data.sha256, data.input_shape)


@dataclass(frozen=True, slots=True)
class MadeWith:
    """The settings that an artifact was made with: `model` those of the recipe's table, `stages` those of each stage up to
    the one that made it, by its folder's name. A file stands as its sha256."""

    seed: int
    model: dict[str, Any]
    stages: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class PackageIdentity:
    """The delivered folder, which lies beside the artifact's and keeps its own manifest; `target` is what it is for."""

    folder: str
    manifest_sha256: str
    target: str


@dataclass(frozen=True, slots=True)
class Index:
    """`stage` made it. `modules` describes the torch modules, `preprocess` is the raw dtype of an int8 model's tables."""

    format: int
    version: str
    kind: Kind
    stage: str
    data: DataIdentity
    made_with: MadeWith
    modules: dict[str, dict[str, Any]] = field(default_factory=dict)
    preprocess: Literal["uint8", "int8"] | None = None
    package: PackageIdentity | None = None
    files: dict[str, str] = field(default_factory=dict)


def write_index(
    folder: Path,
    kind: Kind,
    stage: str,
    data: Dataset,
    files: Sequence[str],
    *,
    made_with: MadeWith,
    modules: Mapping[str, Mapping[str, Any]],
    preprocess: Literal["uint8", "int8"] | None = None,
    package: PackageIdentity | None = None,
) -> None:
    """Describe `files` of `folder`, as they are now."""
    index = Index(
        format=FORMAT,
        version=version(),
        kind=kind,
        stage=stage,
        data=DataIdentity.of(data),
        made_with=made_with,
        modules={name: dict(described) for name, described in modules.items()},
        preprocess=preprocess,
        package=package,
        files={name: file_sha256(folder / name) for name in files},
    )
    table = {k: v for k, v in asdict(index).items() if v is not None}
    (folder / INDEX).write_text(json.dumps(table, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_index(folder: Path) -> Index:
    """What the folder says it holds, once each of its files was compared with its sha256; else RecipeError."""
    path = folder / INDEX
    if not path.is_file():
        why = f"it has no {INDEX}" if folder.is_dir() else "it is a file" if folder.exists() else "it does not exist"
        inside = sorted(found.parent.name for found in folder.glob(f"*/{INDEX}"))
        raise _no_artifact(folder, f"{why}, but those of {', '.join(inside)} in it have one" if inside else why)
    table = read_json(path)
    if not isinstance(table, dict) or "format" not in table:
        raise _no_artifact(folder, f"its {INDEX} is another program's: it names no `format`")
    if table["format"] != FORMAT:
        maker = short(str(table.get("version", "another version")), 40)
        raise RecipeError(
            f"{folder} was made by version {maker} (its {INDEX} has format {short(str(table['format']), 40)}, this version "
            f"reads {FORMAT}); run it again."
        )
    index = parse(Index, table, f"{path}: ")
    for name, wanted in index.files.items():
        if Path(name).name != name:
            raise RecipeError(f"{path} lists {short(name, 80)!r}, which is outside its folder; it is not to be trusted.")
        if not (folder / name).is_file():
            raise RecipeError(f"{folder / name} does not exist; it is part of the saved artifact. Run that stage again.")
        if file_sha256(folder / name) != wanted:
            raise RecipeError(f"{folder / name} was changed after it was saved (its sha256 differs). Run that stage again.")
    return index


def require_data(index: Index, data: Dataset, folder: Path) -> None:
    """RecipeError unless `data` is what the artifact was made from."""
    made, own = index.data, DataIdentity.of(data)
    if made == own:
        return
    if made.shape != own.shape:
        why = f"it takes inputs of {_chw(made.shape)} (C x H x W), the recipe's data has {_chw(own.shape)}"
    else:
        why = (
            f"it was made from {made.name!r} with sha256 {short(made.sha256, 16)}, the recipe's {own.name!r} has "
            f"{own.sha256[:16]}: values, labels, splits (which the seed draws), classes or normalisation differ"
        )
    raise RecipeError(f"{folder} does not fit the recipe's data: {why}. Give the recipe that the run saved beside it.")


def read_json(path: Path) -> Any:
    """RecipeError when the file is too large or damaged."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise RecipeError(f"{path} has more than {MAX_JSON_BYTES:,} bytes; no artifact is so large.")
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as e:
        raise RecipeError(f"{path} can not be read: {e.strerror}.") from None
    except (ValueError, RecursionError) as e:
        raise RecipeError(f"{path} is damaged ({short(str(e), 100)}). Run that stage again.") from None


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _chw(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) if math.prod(shape) else "nothing"


def _no_artifact(folder: Path, why: str) -> RecipeError:
    return RecipeError(
        f"{folder} holds no saved artifact: {why}. Give a folder that a run wrote for one of its stages, such as "
        "build/<run>/<stage>."
    )
