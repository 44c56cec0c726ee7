"""What a stage made, to a folder and back: a float model, an int8 model, or a package, with all that later stages read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from pipeline.artifacts import FloatModel, Package, QuantizedModel
from pipeline.data.npz import read_npz
from pipeline.data.source import Source
from pipeline.data.trial import try_inference
from pipeline.display import short
from pipeline.errors import GraphError, RecipeError
from pipeline.firmware.folder import load_firmware
from pipeline.firmware.linux import load_linux
from pipeline.firmware.manifest import MANIFEST, read_manifest
from pipeline.preprocess import Preprocess
from pipeline.saved.graph import CONSTANTS, GRAPH, load_graph, save_graph
from pipeline.saved.index import (
    INDEX,
    MAX_ARRAY_BYTES,
    Index,
    Kind,
    MadeWith,
    NotSavedError,
    PackageIdentity,
    file_sha256,
    read_index,
    require_data,
    write_index,
)
from pipeline.saved.module import arrays_of, describe, rebuilt, require_same_layers

TABLES = "preprocess.npz"


@dataclass(frozen=True, eq=False)
class Saved:
    """An artifact read back; `stage` made it, and `target` is what it is for, None when it is for any."""

    artifact: Any
    stage: str
    target: str | None = None


def save(artifact: Any, folder: Path, stage: str, source: Source, made_with: MadeWith) -> None:
    """Write what `stage` made of `source`, `made_with` these settings, to `folder`, beside what is there. A package stays
    where it is, which must be beside `folder`. NotSavedError when there is no form for it, and nothing that `load` would
    take is left."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    if isinstance(artifact, FloatModel):
        modules = {"module": artifact.module, **({"teacher": artifact.teacher} if artifact.teacher else {})}
        described, files = _save_modules(modules, folder, source)
        return write_index(folder, "float_model", stage, artifact.data, files, made_with=made_with, modules=described)
    if isinstance(artifact, QuantizedModel):
        return _save_int8(artifact, folder, stage, source, made_with, "quantized_model", None)
    if isinstance(artifact, Package) and isinstance(artifact.model, QuantizedModel):
        manifest = artifact.folder / MANIFEST
        if artifact.folder.parent != folder.parent or not manifest.is_file():
            raise NotSavedError(f"the package {artifact.folder} is no folder of ours beside {folder}")
        target = str(read_manifest(artifact.folder)["target"]["name"])
        package = PackageIdentity(artifact.folder.name, file_sha256(manifest), target)
        return _save_int8(artifact.model, folder, stage, source, made_with, "package", package)
    raise NotSavedError(f"a {type(artifact).__name__} has no saved form")


def load(folder: Path, source: Source) -> Saved:
    """The artifact in `folder`, whose data and factory are those of `source`, the recipe's. RecipeError, in words, when it
    is damaged, foreign, of another version, or made from another model or other data."""
    index = read_index(folder)
    int8 = () if index.kind == "float_model" else (GRAPH, CONSTANTS, *((TABLES,) if index.preprocess else ()))
    for name in (*(f"{module}.npz" for module in index.modules), *int8):
        if name not in index.files:
            raise RecipeError(f"{folder / INDEX} does not list {short(name, 80)!r}; it is damaged. Run that stage again.")
    require_data(index, source.data, folder)
    modules = _load_modules(index, folder, source)
    if index.kind == "float_model":
        if "module" not in modules:
            raise RecipeError(f"{folder / INDEX} names no module; it is damaged. Run that stage again.")
        return Saved(FloatModel(modules["module"], source.data, modules.get("teacher")), index.stage)
    model = QuantizedModel(load_graph(folder), source.data, _load_tables(index, folder), modules.get("float"))
    if index.kind == "quantized_model":
        return Saved(model, index.stage)
    return _load_package(index, folder, model)


def _save_int8(
    model: QuantizedModel,
    folder: Path,
    stage: str,
    source: Source,
    made_with: MadeWith,
    kind: Kind,
    package: PackageIdentity | None,
) -> None:
    modules = {"float": model.float_module} if model.float_module else {}
    described, files = _save_modules(modules, folder, source)
    files = (*files, *save_graph(model.graph, folder))
    if model.preprocess:
        np.savez(folder / TABLES, allow_pickle=False, tables=model.preprocess.tables)
        files = (*files, TABLES)
    dtype = model.preprocess.dtype if model.preprocess else None
    write_index(
        folder,
        kind,
        stage,
        model.data,
        files,
        made_with=made_with,
        modules=described,
        preprocess=dtype,
        package=package,
    )


def _save_modules(
    modules: Mapping[str, nn.Module], folder: Path, source: Source
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    for name, module in modules.items():
        require_same_layers(module, source.module)
        np.savez(folder / f"{name}.npz", allow_pickle=False, **arrays_of(module))
    return {name: describe(module) for name, module in modules.items()}, tuple(f"{name}.npz" for name in modules)


def _load_modules(index: Index, folder: Path, source: Source) -> dict[str, nn.Module]:
    found = {}
    for name, described in index.modules.items():
        path = folder / f"{name}.npz"
        arrays = read_npz(path, optional=None, max_bytes=MAX_ARRAY_BYTES, hint="Run that stage again.")
        found[name] = rebuilt(source.module, described, arrays, str(path))
        try_inference(found[name], source.data, f"the model in {path}", loaded=True)
    return found


def _load_tables(index: Index, folder: Path) -> Preprocess | None:
    if index.preprocess is None:
        return None
    tables = read_npz(folder / TABLES, ("tables",), max_bytes=MAX_ARRAY_BYTES, hint="Run that stage again.")["tables"]
    try:
        return Preprocess(index.preprocess, tables)
    except GraphError as e:
        raise RecipeError(f"{folder / TABLES}: {e}. Run that stage again.") from None


def _load_package(index: Index, folder: Path, model: QuantizedModel) -> Saved:
    package = index.package
    if package is None or package.folder in ("", "..") or Path(package.folder).name != package.folder:
        raise RecipeError(f"{folder / INDEX} names no package beside its folder; it is damaged. Run that stage again.")
    delivered = folder.absolute().parent / package.folder
    manifest = read_manifest(delivered)
    if file_sha256(delivered / MANIFEST) != package.manifest_sha256:
        raise RecipeError(f"{delivered} is not the package that {folder} was saved with; it was made anew since.")
    if manifest.get("family") == "linux":
        return Saved(load_linux(delivered, model), index.stage, package.target)
    firmware, _ = load_firmware(delivered)
    if firmware.model_id != model.graph.sha256()[:16]:
        raise RecipeError(f"{delivered} was built from another model than the one in {folder}. Generate it anew.")
    return Saved(replace(firmware, model=model), index.stage, package.target)
