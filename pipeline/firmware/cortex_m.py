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
    report: Report = lambda _what: None,
) -> Firmware:
    """Write, prove and build `folder` for `target`; `vectors` (default: random ones) are replayed through the generated C
    under sanitizers and through TFLM, and must equal the integer reference byte for byte. With `tflm_dir`, the firmware is
    also built on the TFLM library in there.

    TargetError when the model does not fit, BuildError when a tool is missing or a build fails, MismatchError naming the
    first differing layer. After any of them, `folder` is as it was before."""
    require_target(target)
    if tflm_dir is not None:
        tflm.require_library(tflm_dir)
    graph = model.graph.checked()
    _require_int8_io(graph)
    lowered = lower(graph, target.cpu, target.memory)
    sizes.check_fits(graph, lowered.arena, lowered.sizes, target)
    vectors = vectors or random(graph, RANDOM_VECTORS, model.preprocess)
    p = prefix(graph)
    normalization, task = (model.data.normalization, model.data.task) if isinstance(model, QuantizedModel) else (None, None)
    classes = task.classes if task else ()
    with replaced_whole(folder) as work:
        report("writing C")
        write_library(lowered, work / "model", model.preprocess, normalization, classes)
        tflite = to_tflite(graph)
        (work / "model.tflite").write_bytes(tflite)
        (work / "arena.svg").write_text(arena_svg(lowered), encoding="utf-8")
        report("proving the C on this machine")
        if model.source is not None:
            (work / SOURCE).write_bytes(model.source)
        proof = prove(model, tflite, vectors, work / "model", lowered, report)
        _write_tflm(work / "tflm", graph, tflite, proof)
        reading = task.reading if task else ""
        write_skeleton(work, lowered, model.preprocess, target, normalization, model.source is not None, reading)
        report("building the firmware")
        image = _build(work, p, lowered, target, tflm_dir)
        np.savez(work / "vectors.npz", allow_pickle=False, **_arrays(vectors, model.preprocess))
        write_manifest(work, lowered, model.preprocess, normalization, task, target, image, proof)
    return Firmware(
        folder=folder,
        elf=folder / image.elf.relative_to(work),
        model=model,
        flash_bytes=image.flash_bytes,
        ram_bytes=image.ram_bytes,
        arena_bytes=lowered.arena.arena_bytes,
        layer_constant_bytes=tuple(layer.constant_bytes for layer in lowered.sizes),
        build_id=image.build_id,
        sha256=read_manifest(folder)["files"][f"build/{p}.bin"],
        model_id=graph.sha256()[:16],
    )


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
    folder.mkdir()
    for name, text in tflm.tflm_sources(graph, tflite, proof.tflm_arena_bytes, proof.tflm_arena_note).items():
        (folder / name).write_text(text, encoding="utf-8")


def _build(work: Path, p: str, lowered: Lowered, target: Target, tflm_dir: Path | None) -> build.Image:
    graph = lowered.graph
    try:
        return build.cross_build(work, p, tflm_dir)
    except build.DoesNotFitError as e:
        if e.region == "FLASH":
            message = sizes.flash_message(graph, lowered.sizes, target, target.memory.flash_bytes + e.excess_bytes)
        else:
            message = sizes.ram_message(graph, lowered.arena, target, target.memory.ram_bytes + e.excess_bytes)
        raise TargetError(message) from None


def _arrays(vectors: Vectors, preprocess: Preprocess | None) -> dict[str, Array]:
    """The first few vectors, as the firmware takes and gives them, and the tables that turn its raw input into int8."""
    n = KEPT_VECTORS
    inputs = {f"input_{i}": x[:n] for i, x in enumerate(vectors.inputs)}
    outputs = {f"output_{i}": y[:n] for i, y in enumerate(vectors.outputs)}
    return {**inputs, **outputs, **({"preprocess_tables": preprocess.tables} if preprocess else {})}
