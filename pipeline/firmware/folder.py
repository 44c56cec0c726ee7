"""A firmware folder back from disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts import Firmware
from pipeline.data.npz import read_npz
from pipeline.errors import RecipeError, TargetError
from pipeline.evidence import SourceProof
from pipeline.importers.tflite.importer import load_tflite
from pipeline.ir import Graph
from pipeline.preprocess import Normalization, Preprocess
from pipeline.proof.source_tflite import SOURCE
from pipeline.strict import parse
from pipeline.target import Target
from pipeline.tasks import read_task
from pipeline.tasks.task import Task


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """What a firmware computes. `preprocess` is there when the device takes raw bytes, None when it takes int8 itself;
    `normalization` is that of the data set it was made for, None for models of other tools; `source` the .tflite file that
    another tool made, as it was given, None where there was none; `proof` what was proven of an .onnx file;
    `task` what it is for, None for models of other tools."""

    graph: Graph
    preprocess: Preprocess | None
    normalization: Normalization | None = None
    source: bytes | None = None
    proof: SourceProof | None = None
    task: Task | None = None

    def __repr__(self) -> str:
        """Short: printing a firmware prints its model, and a graph holds all weights."""
        return f"CompiledModel({self.graph.name!r}, {len(self.graph.ops)} operators)"


def load_firmware(folder: str | Path) -> tuple[Firmware, Target]:
    """A folder that `compile_model` or a run wrote, and its target, after comparing every file with the manifest's sha256.
    The graph is that of its model.tflite. RecipeError names a file that is missing or changed."""
    from pipeline.firmware.manifest import MANIFEST, read_manifest

    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        if manifest.get("family") == "linux":
            name = manifest.get("target", {}).get("name", "raspberry-pi-4")
            raise RecipeError(
                f"{folder} was written for a Linux computer, and holds no firmware. `pipeline run --target {name}` replays "
                "the test images there; `runner/` and the .onnx files in the folder can be used by hand."
            )
        verify_files(folder, manifest["files"])
        target = parse(Target, manifest["target"], f"{folder / MANIFEST}: target", TargetError)
        if target.device.flash:  # a command from who knows where
            raise RecipeError(f"{folder / MANIFEST} names a flash command, which no folder does; it is not to be trusted.")
        name, model_id = str(manifest["model"]["name"]), str(manifest["model"]["id"])
        binary = next(file for file in manifest["files"] if file.endswith(".bin"))
        image, arena_bytes = manifest["image"], int(manifest["arena"]["bytes"])
        firmware = Firmware(
            folder=folder,
            elf=(folder / binary).with_suffix(".elf"),
            model=_stored_model(folder, name, manifest["model"], SOURCE in manifest["files"]),
            flash_bytes=int(image["flash_bytes"]),
            ram_bytes=int(image["ram_bytes"]),
            model_flash_bytes=int(image["model_flash_bytes"]),
            arena_bytes=arena_bytes,
            layer_constant_bytes=tuple(int(layer["constant_bytes"]) for layer in manifest["layers"]),
            build_id=str(image["build_id"]),
            sha256=str(manifest["files"][binary]),
            model_id=model_id,
        )
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as e:
        raise RecipeError(f"{folder / MANIFEST} is not complete ({e!r}); generate the folder anew.") from None
    return firmware, target


def verify_files(folder: Path, files: Mapping[str, str]) -> None:
    """RecipeError, naming it, when one of the manifest's `files` is missing or not as it was when it was proven."""
    for name, wanted in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise RecipeError(
                f"the manifest of {folder} lists {name!r}, which is outside the folder; it is not to be trusted."
            )
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as e:
            raise RecipeError(
                f"{path} can not be read ({e.strerror}); it is part of the firmware. Generate it anew."
            ) from None
        if found != wanted:
            raise RecipeError(f"{path} was changed after the firmware was proven (its sha256 differs). Generate it anew.")


def _stored_model(folder: Path, name: str, stored: dict[str, Any], has_source: bool) -> CompiledModel:
    """The model as the firmware has it: the graph from model.tflite, the preprocessing tables from vectors.npz."""
    graph = load_tflite((folder / "model.tflite").read_bytes(), name)
    preprocess, normalization = None, None
    if stored["preprocess"] is not None:
        tables = read_npz(folder / "vectors.npz", ("preprocess_tables",))["preprocess_tables"]
        preprocess = Preprocess(stored["preprocess"]["dtype"], tables)
    if stored["normalization"] is not None:
        normalization = parse(Normalization, stored["normalization"], f"{folder}: normalization", RecipeError)
    task = None if stored["task"] is None else read_task(stored["task"], f"{folder}: task")
    source = (folder / SOURCE).read_bytes() if has_source else None
    return CompiledModel(graph, preprocess, normalization, source, task=task)
