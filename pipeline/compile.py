"""A model that some other tool made, to firmware: `pipeline compile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts import Firmware
from pipeline.errors import GraphError, RecipeError, TargetError
from pipeline.evidence import SourceProof
from pipeline.firmware.folder import CompiledModel
from pipeline.importers.imported import Imported
from pipeline.importers.tflite.importer import import_tflite
from pipeline.ir import Graph
from pipeline.lowering.budget import NO_LIMIT, Budget
from pipeline.target import Target
from pipeline.target import load as load_target

if TYPE_CHECKING:
    from pipeline.proof.prove import Report

MODEL_TYPES = {
    ".tflite": "an int8 TensorFlow Lite file",
    ".onnx": "an ONNX file, int8 in QDQ form or float with --calibration",
    ".keras": "a Keras model, with --calibration",
    ".h5": "a Keras model, with --calibration",
}


def compile_model(
    path: str | Path,
    target: str | Target,
    out: str | Path | None = None,
    calibration: str | Path | None = None,
    *,
    targets_dir: str | Path | None = None,
    tflm_dir: Path | None = None,
    budget: Budget = NO_LIMIT,
    report: Report = lambda _what: None,
) -> Firmware:
    """Import the model at `path`, optimise it without changing an output bit, and write, prove and build its firmware.

    `target` is a name or a loaded target; `out` the folder to write, by default build/<model>-<target>; `calibration` an
    .npz file whose array `x` holds real inputs (n, ...), needed for models that are not int8 yet; `tflm_dir` a prebuilt TFLM
    library to build that firmware with, too; `budget` what is to be least, and what the model may take. `report` is told
    what happens next.

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
    return write_firmware(model, chosen, folder, tflm_dir=tflm_dir, budget=budget, report=report)


def prove_imported(imported: Imported, graph: Graph, report: Report = lambda _what: None) -> SourceProof | None:
    """Hold `graph`, the optimised one, against the .onnx file that it was read from; GraphError when they differ. None for
    other files: those of TensorFlow are asked when the firmware is proven."""
    if imported.onnx is None:
        return None
    from pipeline.proof.prove import RANDOM_VECTORS
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
