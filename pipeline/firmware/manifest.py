"""manifest.json: everything that can be asked of a firmware folder later, without building or running it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.codegen import tflm
from pipeline.display import short
from pipeline.errors import RecipeError
from pipeline.evidence import Proof
from pipeline.firmware.skeleton import io_tensors
from pipeline.host import build, tools
from pipeline.lowering.arena import ALIGNMENT
from pipeline.lowering.lower import Candidate, Layer, Lowered
from pipeline.lowering.sizes import constant_bytes
from pipeline.preprocess import Normalization, Preprocess
from pipeline.target import Target, as_table
from pipeline.tasks.task import Task, stored

MANIFEST = "manifest.json"
FORMAT = 4
MAX_BYTES = 16 << 20  # a large network's has a few hundred thousand
TOOLCHAIN = (tools.CROSS_COMPILER, tools.HOST_COMPILER, tools.MAKE)


def write_manifest(
    folder: Path,
    lowered: Lowered,
    preprocess: Preprocess | None,
    normalization: Normalization | None,
    task: Task | None,
    target: Target,
    image: build.Image,
    proof: Proof,
) -> None:
    """Describe every file that is in `folder` now."""
    graph, arena = lowered.graph, lowered.arena
    manifest = {
        "format": FORMAT,
        "model": {
            "name": graph.name,
            "id": graph.sha256()[:16],
            "sha256": graph.sha256(),
            "macs": graph.macs(),
            "constant_bytes": constant_bytes(lowered.sizes),
            "tensors": [asdict(t) for side in io_tensors(graph, preprocess) for t in side],
            "preprocess": {"dtype": preprocess.dtype, "offset": preprocess.is_offset} if preprocess else None,
            "normalization": asdict(normalization) if normalization else None,
            "task": stored(task) if task else None,
        },
        "target": as_table(target),
        "toolchain": _toolchain(target),
        "image": {
            "build_id": image.build_id,
            "flash_bytes": image.flash_bytes,
            "ram_bytes": image.ram_bytes,
            "model_flash_bytes": image.model_flash_bytes,
            "sections": dict(image.sections),
        },
        "arena": {
            "bytes": arena.arena_bytes,
            "alignment": ALIGNMENT,
            "peak_bytes": max(arena.live_bytes, default=0),
            "peak_ops": list(arena.peak_ops),
            "slots": {name: asdict(slot) for name, slot in arena.slots.items()},
            "scratch": {str(i): asdict(slot) for i, slot in arena.scratch.items()},
        },
        "layers": [{**asdict(r), **_variants(layer)} for r, layer in zip(lowered.sizes, lowered.layers, strict=True)],
        "tflm": {
            "arena_bytes": proof.tflm_arena_bytes,
            "arena_note": proof.tflm_arena_note,
            "operators": list(tflm.operators(graph)),
        },
        "proven": {
            "vectors": proof.vectors,
            "host_c": proof.host_c,
            "tflm": proof.tflm,
            "source": asdict(proof.source) if proof.source else None,
        },
        "files": file_digests(folder),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _variants(layer: Layer) -> dict[str, Any]:
    """Which of the operator's variants computes the layer, and what was to be said of each of them."""

    def row(c: Candidate) -> dict[str, Any]:
        v = c.variant
        known = {
            "cost": v.cost,
            "cycles": v.cycles,
            "needs": list(v.needs),
            "scratch_bytes": v.scratch_bytes,
            "code_bytes": sum(v.code.values()),
        }
        return {"name": v.name, "possible": c.possible, "why": c.why, **known}

    return {"variant": layer.chosen.name, "variants": [row(c) for c in layer.candidates]}


def file_digests(folder: Path) -> dict[str, str]:
    """sha256 of every file in `folder` and below, by its path there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a firmware folder; RecipeError when there is none, or not one of this format."""
    path = folder / MANIFEST
    if not path.is_file():
        why = f"it has no {MANIFEST}" if folder.is_dir() else "it is a file" if folder.exists() else "it does not exist"
        raise _no_firmware(folder, why)
    if path.stat().st_size > MAX_BYTES:
        raise _no_firmware(folder, f"its {MANIFEST} has more than {MAX_BYTES:,} bytes")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise _no_firmware(folder, f"its {MANIFEST} can not be read ({e.strerror})") from None
    except (ValueError, RecursionError) as e:
        raise _no_firmware(folder, f"its {MANIFEST} is damaged ({e})") from None
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise _no_firmware(folder, f"its {MANIFEST} is another program's: it names no `format`")
    if manifest["format"] != FORMAT:
        raise RecipeError(
            f"{folder} was made by {_maker(manifest)} (its {MANIFEST} has format {short(str(manifest['format']), 40)}, this "
            f"version reads {FORMAT}); compile it again."
        )
    return manifest


def _maker(manifest: dict[str, Any]) -> str:
    """Which version of this program wrote a manifest of another format, as far as that says so."""
    toolchain = manifest.get("toolchain")
    version = toolchain.get("tinyml-pipeline") if isinstance(toolchain, dict) else None
    if isinstance(version, str) and version:
        return f"version {short(version, 40)}"
    newer = isinstance(manifest["format"], int) and manifest["format"] > FORMAT
    return "a newer version" if newer else "an older version"


def _no_firmware(folder: Path, why: str) -> RecipeError:
    inside = folder / "firmware"
    meant = f" Did you mean {inside}?" if (inside / MANIFEST).is_file() else ""
    return RecipeError(
        f"{folder} is no firmware folder: {why}.{meant} Give a folder that `pipeline compile` wrote, or the firmware/ "
        "folder of a run."
    )


def _toolchain(target: Target) -> dict[str, str]:
    found = {tool.name: tools.find(tool) for tool in TOOLCHAIN}
    programs = {name: f.version for name, f in found.items()}
    host = found[tools.HOST_COMPILER.name]  # $CC's, or another: its version alone does not tell which
    programs[host.tool.name] = f"{Path(host.path or '').name}: {host.said}"
    packages = {n: v for n in ("tinyml-pipeline", "tflite-micro") if (v := tools.package_version(n))}
    flags = {
        "cpu_flags": build.cpu_flags(target),
        "model_flags": build.MODEL_OPTIMISE,
        "firmware_flags": build.FIRMWARE_OPTIMISE,
    }
    return {**programs, **packages, **flags}
