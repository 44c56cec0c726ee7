"""A firmware folder that builds by itself, proven before it gets its name: written, built, replayed, renamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.artifacts import Firmware, Int8Model, QuantizedModel
from pipeline.codegen import tflm
from pipeline.codegen.arena_svg import arena_svg
from pipeline.codegen.library import write_library
from pipeline.codegen.to_c import prefix
from pipeline.codegen.to_tflite import to_tflite
from pipeline.errors import GraphError, TargetError
from pipeline.evidence import Proof
from pipeline.firmware.atomic import replaced_whole
from pipeline.firmware.manifest import read_manifest, write_manifest
from pipeline.firmware.skeleton import driver, write_skeleton
from pipeline.host import build, tools
from pipeline.ir import Array, Graph
from pipeline.lowering import sizes
from pipeline.lowering.budget import NO_LIMIT, Budget
from pipeline.lowering.lower import Lowered, lower
from pipeline.preprocess import Preprocess
from pipeline.proof.prove import RANDOM_VECTORS, Report, prove
from pipeline.proof.source_tflite import SOURCE
from pipeline.proof.vectors import Vectors, random
from pipeline.target import Target

KEPT_VECTORS = 16


def write_firmware(
    model: Int8Model,
    target: Target,
    folder: Path,
    *,
    vectors: Vectors | None = None,
    tflm_dir: Path | None = None,
    budget: Budget = NO_LIMIT,
    report: Report = lambda _what: None,
) -> Firmware:
    """Write, build and prove `folder` for `target`; `vectors` (default: random ones) are replayed through the generated C
    under sanitizers and through TFLM, and must equal the integer reference byte for byte. With `tflm_dir`, the firmware is
    also built on the TFLM library in there. `budget` says what is to be least, and what the model may take at most.

    TargetError when the model does not fit, BuildError when a tool is missing or a build fails, MismatchError naming the
    first differing layer. After any of them, `folder` is as it was before."""
    require_target(target)
    if tflm_dir is not None:
        tflm.require_library(tflm_dir)
    graph = model.graph.checked()
    _require_int8_io(graph)
    vectors = vectors or random(graph, RANDOM_VECTORS, model.preprocess)
    within, failed = budget, None
    while True:
        lowered = lower(graph, target.cpu, target.memory, within)
        sizes.check_fits(graph, lowered.arena, lowered.sizes, target, budget)
        if failed and lowered.variants == failed[0]:
            raise TargetError(_too_large(lowered, target, budget, failed[1]))
        try:
            return _written(model, target, folder, lowered, vectors, tflm_dir, budget, report)
        except build.DoesNotFitError as e:
            within = within.tighter(e.region, e.excess_bytes, lowered.flash_bytes, lowered.arena.arena_bytes)
            failed = lowered.variants, e


def _written(
    model: Int8Model,
    target: Target,
    folder: Path,
    lowered: Lowered,
    vectors: Vectors,
    tflm_dir: Path | None,
    budget: Budget,
    report: Report,
) -> Firmware:
    """The folder as it is lowered; DoesNotFitError when that is too large for the target or the budget."""
    graph, p = lowered.graph, prefix(lowered.graph)
    normalization, task = (model.data.normalization, model.data.task) if isinstance(model, QuantizedModel) else (None, None)
    classes = task.classes if task else ()
    with replaced_whole(folder) as work:
        report("writing C")
        write_library(lowered, work / "model", model.preprocess, normalization, classes)
        if model.source is not None:
            (work / SOURCE).write_bytes(model.source)
        reading = task.reading if task else ""
        write_skeleton(work, lowered, model.preprocess, target, normalization, model.source is not None, reading)
        report("building the firmware")
        image = build.cross_build(work, p)
        _require_budget(image, budget)
        report("proving the C on this machine")
        tflite = to_tflite(graph)
        proof = prove(model, tflite, vectors, work / "model", lowered, report)
        (work / "model.tflite").write_bytes(tflite)
        (work / "arena.svg").write_text(arena_svg(lowered), encoding="utf-8")
        _write_tflm(work / "tflm", graph, tflite, proof)
        if tflm_dir is not None:
            build.tflm_build(work, tflm_dir)
        np.savez(work / "vectors.npz", allow_pickle=False, **_arrays(vectors, model.preprocess))
        write_manifest(work, lowered, model.preprocess, normalization, task, target, image, proof)
    return Firmware(
        folder=folder,
        elf=folder / image.elf.relative_to(work),
        model=model,
        flash_bytes=image.flash_bytes,
        ram_bytes=image.ram_bytes,
        model_flash_bytes=image.model_flash_bytes,
        arena_bytes=lowered.arena.arena_bytes,
        layer_constant_bytes=tuple(layer.constant_bytes for layer in lowered.sizes),
        build_id=image.build_id,
        sha256=read_manifest(folder)["files"][f"build/{p}.bin"],
        model_id=graph.sha256()[:16],
    )


def _require_budget(image: build.Image, budget: Budget) -> None:
    """DoesNotFitError when the model, as it was built, takes more flash than it may. Its RAM was known before."""
    limit = budget.model_flash_bytes
    if limit is not None and image.model_flash_bytes > limit:
        excess = image.model_flash_bytes - limit
        raise build.DoesNotFitError("the model is larger than its budget", "FLASH", excess, of_budget=True)


def require_target(target: Target) -> None:
    """What can be known before any work: BuildError for a missing tool, TargetError for a core that the compiler does not
    know, or a driver that does not exist."""
    build.require_tools(tools.HOST_COMPILER, tools.CROSS_COMPILER, tools.MAKE)
    build.require_core(target)
    driver(target)


def _require_int8_io(graph: Graph) -> None:
    for name in (*graph.inputs, *graph.outputs):
        if graph[name].dtype not in ("int8", "uint8"):
            raise GraphError(
                f"{name!r} is {graph[name].dtype}; the firmware's inputs and outputs must be int8. Leave out the QUANTIZE "
                f"or DEQUANTIZE at the model's edge: the host converts with the scale in the header."
            )


def _write_tflm(folder: Path, graph: Graph, tflite: bytes, proof: Proof) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in tflm.tflm_sources(graph, tflite, proof.tflm_arena_bytes, proof.tflm_arena_note).items():
        (folder / name).write_text(text, encoding="utf-8")


def _too_large(lowered: Lowered, target: Target, budget: Budget, e: build.DoesNotFitError) -> str:
    """What to say when there is no smaller choice."""
    graph, memory, limit = lowered.graph, target.memory, budget.model_flash_bytes
    if e.region == "RAM":
        return sizes.ram_message(graph, lowered.arena, target, memory.ram_bytes + e.excess_bytes)
    if limit is not None and e.of_budget:
        return sizes.budget_message(lowered.sizes, graph.name, "flash", limit, f"{limit + e.excess_bytes:,}")
    return sizes.flash_message(graph, lowered.sizes, target, memory.flash_bytes + e.excess_bytes)


def _arrays(vectors: Vectors, preprocess: Preprocess | None) -> dict[str, Array]:
    """The first few vectors, as the firmware takes and gives them, and the tables that turn its raw input into int8."""
    n = KEPT_VECTORS
    inputs = {f"input_{i}": x[:n] for i, x in enumerate(vectors.inputs)}
    outputs = {f"output_{i}": y[:n] for i, y in enumerate(vectors.outputs)}
    return {**inputs, **outputs, **({"preprocess_tables": preprocess.tables} if preprocess else {})}
