"""A model that some other tool made, to firmware: `pipeline compile`. And a firmware folder back from disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.npz import read_npz
from pipeline.errors import GraphError, RecipeError, TargetError
from pipeline.importers.imported import Imported
from pipeline.importers.tflite.importer import import_tflite, load_tflite
from pipeline.ir import Graph
from pipeline.preprocess import Normalization, Preprocess
from pipeline.proof.source_tflite import SOURCE, SourceProof
from pipeline.stage import Firmware
from pipeline.strict import parse
from pipeline.target import Target
from pipeline.target import load as load_target

if TYPE_CHECKING:
    from pipeline.firmware.cortex_m import Report

MODEL_TYPES = {
    ".tflite": "an int8 TensorFlow Lite file",
    ".onnx": "an ONNX file, int8 in QDQ form or float with --calibration",
    ".keras": "a Keras model, with --calibration",
    ".h5": "a Keras model, with --calibration",
}


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """What a firmware computes. `preprocess` is there when the device takes raw bytes, None when it takes int8 itself;
    `normalization` is that of the data set it was made for, None for models of other tools; `source` the .tflite file that
    another tool made, as it was given, None where there was none; `proof` what was proven of an .onnx file."""

    graph: Graph
    preprocess: Preprocess | None
    normalization: Normalization | None = None
    source: bytes | None = None
    proof: SourceProof | None = None

    def __repr__(self) -> str:
        """Short: printing a firmware prints its model, and a graph holds all weights."""
        return f"CompiledModel({self.graph.name!r}, {len(self.graph.ops)} operators)"


def compile_model(
    path: str | Path,
    target: str | Target,
    out: str | Path | None = None,
    calibration: str | Path | None = None,
    *,
    targets_dir: str | Path | None = None,
    tflm_dir: Path | None = None,
    report: Report = lambda _what: None,
) -> Firmware:
    """Import the model at `path`, optimise it without changing an output bit, and write, prove and build its firmware.

    `target` is a name or a loaded target; `out` the folder to write, by default build/<model>-<target>; `calibration` an
    .npz file whose array `x` holds real inputs (n, ...), needed for models that are not int8 yet; `tflm_dir` a prebuilt TFLM
    library to build that firmware with, too. `report` is told what happens next.

    GraphError when the model can not be expressed in int8, or its file answers otherwise than what was read from it;
    TargetError when it does not fit, BuildError when a tool is missing, MismatchError when the generated code is not exact;
    after any of them `out` is as it was before.
    """
    from pipeline.firmware.cortex_m import write_firmware
    from pipeline.passes import optimize

    chosen = load_target(target, Path(targets_dir) if targets_dir else None) if isinstance(target, str) else target
    if chosen.family != "cortex_m":
        raise TargetError(
            f"target {chosen.name} is of family {chosen.family!r}; `pipeline compile` writes firmware for 'cortex_m' "
            "targets. `pipeline targets` lists them."
        )
    report("importing the model")
    imported = import_model(Path(path), Path(calibration) if calibration else None)
    report("optimising")
    graph = optimize(imported.graph)
    proof = prove_imported(imported, graph, report)
    model = CompiledModel(graph, imported.preprocess, source=imported.tflite, proof=proof)
    folder = Path(out) if out else Path("build") / f"{model.graph.name}-{chosen.name}"
    return write_firmware(model, chosen, folder, tflm_dir=tflm_dir, report=report)


def prove_imported(imported: Imported, graph: Graph, report: Report = lambda _what: None) -> SourceProof | None:
    """Hold `graph`, the optimised one, against the .onnx file that it was read from; GraphError when they differ. None for
    other files: those of TensorFlow are asked when the firmware is proven."""
    if imported.onnx is None:
        return None
    from pipeline.firmware.cortex_m import RANDOM_VECTORS
    from pipeline.proof.source_onnx import prove_onnx
    from pipeline.proof.vectors import random

    report("comparing with the ONNX file")
    return prove_onnx(imported, graph, random(graph, RANDOM_VECTORS, imported.preprocess).int8_inputs)


def import_model(path: Path, calibration: Path | None = None) -> Imported:
    """The int8 graph of a model file, by its suffix; a folder is a SavedModel. GraphError; RecipeError for wrong options."""
    suffix = path.suffix.lower()
    known = ", ".join(f"{s} ({what})" for s, what in MODEL_TYPES.items())
    if not path.exists():
        raise GraphError(f"model {path} does not exist. Give the path of a model: {known}.")
    if calibration and suffix == ".tflite":
        raise RecipeError(
            f"--calibration {calibration} is of no use to {path.name}: a .tflite file must be int8 already. Leave it "
            "out, or pass the Keras or ONNX model that it was made from."
        )
    if suffix == ".tflite":
        return import_tflite(path)
    if suffix == ".onnx":
        from pipeline.importers.onnx.importer import import_onnx

        return import_onnx(path, calibration)
    if suffix in (".keras", ".h5") or path.is_dir():
        from pipeline.importers.keras import import_keras

        return import_keras(path, calibration)
    raise GraphError(f"{path} is of no type that is imported. Supported: {known}, and folders (TensorFlow SavedModels).")


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
        _verify(folder, manifest["files"])
        target = parse(Target, manifest["target"], f"{folder / MANIFEST}: target", TargetError)
        name, model_id = str(manifest["model"]["name"]), str(manifest["model"]["id"])
        binary = next(file for file in manifest["files"] if file.endswith(".bin"))
        image, arena_bytes = manifest["image"], int(manifest["arena"]["bytes"])
        firmware = Firmware(
            folder=folder,
            elf=(folder / binary).with_suffix(".elf"),
            model=_stored_model(folder, name, manifest["model"], SOURCE in manifest["files"]),
            flash_bytes=int(image["flash_bytes"]),
            ram_bytes=int(image["ram_bytes"]),
            arena_bytes=arena_bytes,
            build_id=str(image["build_id"]),
            sha256=str(manifest["files"][binary]),
            model_id=model_id,
        )
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as e:
        raise RecipeError(f"{folder / MANIFEST} is not complete ({e!r}); generate the folder anew.") from None
    return firmware, target


def _verify(folder: Path, files: dict[str, str]) -> None:
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
    return CompiledModel(graph, preprocess, normalization, (folder / SOURCE).read_bytes() if has_source else None)
