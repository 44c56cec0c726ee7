"""A firmware folder that builds by itself, proven before it is delivered: written aside, built, replayed, then renamed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.codegen import sizes, tflm
from pipeline.codegen.arena import Plan, plan
from pipeline.codegen.arena_svg import arena_svg
from pipeline.codegen.library import write_library
from pipeline.codegen.to_c import prefix
from pipeline.codegen.to_tflite import to_tflite
from pipeline.errors import BuildError, GraphError, MismatchError, RecipeError, TargetError
from pipeline.firmware import build
from pipeline.firmware.manifest import MANIFEST, Proof, read_manifest, write_manifest
from pipeline.firmware.skeleton import driver, write_skeleton
from pipeline.host import tools as doctor
from pipeline.ir import Array, Graph
from pipeline.preprocess import Preprocess
from pipeline.proof import tflm as oracle
from pipeline.proof.host_c import HostC
from pipeline.proof.source_tflite import SOURCE, prove_source
from pipeline.proof.vectors import Vectors, random
from pipeline.stage import Firmware, Int8Model, QuantizedModel
from pipeline.target import Target

RANDOM_VECTORS = 16
KEPT_VECTORS = 16

Report = Callable[[str], None]
"""Told what happens next, in a few words."""


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
    arena = plan(graph)
    layers = sizes.layer_sizes(graph, arena)
    sizes.check_fits(graph, arena, layers, target)
    vectors = vectors or random(graph, RANDOM_VECTORS, model.preprocess)
    p = prefix(graph)
    normalization = model.data.normalization if isinstance(model, QuantizedModel) else None
    with aside(folder) as work:
        report("writing C")
        write_library(graph, work / "model", model.preprocess, arena, normalization)
        tflite = to_tflite(graph)
        (work / "model.tflite").write_bytes(tflite)
        (work / "arena.svg").write_text(arena_svg(graph, arena), encoding="utf-8")
        report("proving the C on this machine")
        if model.source is not None:
            (work / SOURCE).write_bytes(model.source)
        proof = prove(model, tflite, vectors, work / "model", arena, report)
        _write_tflm(work / "tflm", graph, tflite, proof)
        write_skeleton(work, graph, model.preprocess, target, arena, normalization, model.source is not None)
        report("building the firmware")
        image = _build(work, p, graph, arena, layers, target, tflm_dir)
        np.savez(work / "vectors.npz", allow_pickle=False, **_arrays(vectors, model.preprocess))
        write_manifest(work, graph, model.preprocess, normalization, target, arena, layers, image, proof)
    return Firmware(
        folder=folder,
        elf=folder / image.elf.relative_to(work),
        model=model,
        flash_bytes=image.flash_bytes,
        ram_bytes=image.ram_bytes,
        arena_bytes=arena.arena_bytes,
        build_id=image.build_id,
        sha256=read_manifest(folder)["files"][f"build/{p}.bin"],
        model_id=graph.sha256()[:16],
    )


def require_target(target: Target) -> None:
    """What can be known before any work: BuildError for a missing tool, TargetError for a core that the compiler does not
    know, or a driver that does not exist."""
    build.require_tools(doctor.HOST_COMPILER, doctor.CROSS_COMPILER, doctor.MAKE)
    build.require_core(target)
    driver(target)


def prove(
    model: Int8Model, tflite: bytes, vectors: Vectors, library: Path, arena: Plan, report: Report = lambda _what: None
) -> Proof:
    """Replay `vectors` through the user's own file where there is one, the generated C and TFLM; MismatchError, for the
    user's file GraphError, naming the first layer that differs."""
    graph, source = model.graph, model.proof
    if model.source is not None:
        source = prove_source(model.source, graph, vectors)
    with HostC(graph, model.preprocess, library) as host:
        if not _equal(vectors.outputs, host.run(*vectors.inputs)):
            found = oracle.first_difference(graph, vectors.int8_inputs, host.layers(*vectors.inputs))
            raise MismatchError(f"{_difference(graph, 'the generated C', found)} Nothing is kept.")
    report("comparing with TFLM")
    n, by_tflm = len(vectors), prove_tflm(graph, tflite, vectors)
    if by_tflm is None:
        note = "an estimate: TFLM could not run on the machine that generated this"
        return Proof(n, n, None, tflm.arena_estimate(graph, arena), note, source)
    note = "the smallest that works, found by bisection with TFLM on a 64-bit host; a 32-bit core needs no more"
    return Proof(n, n, by_tflm, oracle.smallest_arena(tflite), note, source)


def prove_tflm(graph: Graph, tflite: bytes, vectors: Vectors) -> int | None:
    """How many vectors TFLM answers with the reference's bytes: all, or MismatchError; None where TFLM can not run."""
    if not oracle.tflm_available():
        return None
    if not _equal(vectors.outputs, oracle.tflm_run(tflite, *vectors.int8_inputs)):
        found = oracle.first_difference(graph, vectors.int8_inputs, oracle.tflm_layers(tflite, *vectors.int8_inputs))
        raise MismatchError(_difference(graph, "TFLM on the .tflite file", found))
    return len(vectors)


def _equal(expected: tuple[Array, ...], got: tuple[Array, ...]) -> bool:
    return all(np.array_equal(a, b.reshape(a.shape)) for a, b in zip(expected, got, strict=True))


def _difference(graph: Graph, who: str, found: oracle.Difference | None) -> str:
    where = str(found) if found else "its layers are equal when traced, so only the untraced program differs"
    return f"{who} does not answer as the integer reference of {graph.name!r} does: {where}."


def _require_int8_io(graph: Graph) -> None:
    for name in (*graph.inputs, *graph.outputs):
        if graph[name].dtype not in ("int8", "uint8"):
            raise GraphError(
                f"{name!r} is {graph[name].dtype}; the firmware's inputs and outputs must be int8. Leave out the QUANTIZE "
                f"or DEQUANTIZE at the model's edge: the host converts with the scale in the header."
            )


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """A work folder beside `folder` that takes its place when the block succeeds, and is gone when it does not: `folder`
    then is as it was. RecipeError when it is no place for a firmware folder."""
    folder = folder.absolute()
    try:
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file())):
            raise RecipeError(f"{folder} exists and is no firmware folder of ours; it is left alone. Give another place.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as e:
        raise RecipeError(
            f"the firmware folder can not be made in {folder.parent}: {e.strerror}. Give another place."
        ) from None
    old = work.with_name(f"{work.name}.old")
    try:
        work.chmod(0o755)
        yield work
        if folder.exists():
            folder.rename(old)
        work.rename(folder)
    except OSError as e:
        raise BuildError(
            f"the firmware folder can not be written in {folder.parent}: {e.strerror or e}. Free some space or give another "
            "place, then run it again."
        ) from e
    finally:
        if old.exists() and not folder.exists():  # ended between the two renames
            old.rename(folder)
        for left in (work, old):
            shutil.rmtree(left, ignore_errors=True)


def _write_tflm(folder: Path, graph: Graph, tflite: bytes, proof: Proof) -> None:
    folder.mkdir()
    for name, text in tflm.tflm_sources(graph, tflite, proof.tflm_arena_bytes, proof.tflm_arena_note).items():
        (folder / name).write_text(text, encoding="utf-8")


def _build(
    work: Path,
    p: str,
    graph: Graph,
    arena: Plan,
    layers: tuple[sizes.LayerSize, ...],
    target: Target,
    tflm_dir: Path | None,
) -> build.Image:
    try:
        return build.cross_build(work, p, tflm_dir)
    except build.DoesNotFitError as e:
        if e.region == "FLASH":
            message = sizes.flash_message(graph, layers, target, target.memory.flash_bytes + e.excess_bytes)
        else:
            message = sizes.ram_message(graph, arena, target, target.memory.ram_bytes + e.excess_bytes)
        raise TargetError(message) from None


def _arrays(vectors: Vectors, preprocess: Preprocess | None) -> dict[str, Array]:
    """The first few vectors, as the firmware takes and gives them, and the tables that turn its raw input into int8."""
    n = KEPT_VECTORS
    inputs = {f"input_{i}": x[:n] for i, x in enumerate(vectors.inputs)}
    outputs = {f"output_{i}": y[:n] for i, y in enumerate(vectors.outputs)}
    return {**inputs, **outputs, **({"preprocess_tables": preprocess.tables} if preprocess else {})}
