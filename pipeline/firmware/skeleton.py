"""The files around the network: copied from firmware_templates/cortex_m, or rendered where model or target decide."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.codegen.c_header import header_tensors, io_scale
from pipeline.codegen.templates import render
from pipeline.codegen.to_c import prefix
from pipeline.errors import TargetError, did_you_mean
from pipeline.host import build
from pipeline.ir import Graph
from pipeline.locations import data_dir
from pipeline.lowering.lower import Lowered
from pipeline.lowering.sizes import shape_text
from pipeline.preprocess import Normalization, Preprocess
from pipeline.target import Target

TOP = ("Makefile.j2", "CMakeLists.txt.j2", "README.md.j2")
"""Templates of the folder itself; the others are sources."""
BUILD_ID = "src/build_id.c"
"""Compiled twice, so that Makefile and CMakeLists.txt name it apart from the other sources."""


@dataclass(frozen=True, slots=True)
class IoTensor:
    """An input or output as templates and manifest show it. `dtype` is "raw uint8" where a preprocess is compiled in."""

    role: str
    name: str
    dtype: str
    shape: str
    bytes: int
    scale: float
    zero_point: int


def io_tensors(graph: Graph, preprocess: Preprocess | None) -> tuple[list[IoTensor], list[IoTensor]]:
    """(inputs, outputs)."""

    def row(role: str, i: int, name: str) -> IoTensor:
        t = graph[name]
        dtype = f"raw {preprocess.dtype}" if preprocess and (role, i) == ("input", 0) else t.dtype
        return IoTensor(f"{role} {i}", name, dtype, shape_text(t), t.nbytes, io_scale(t), t.zero_point)

    inputs = [row("input", i, n) for i, n in enumerate(graph.inputs)]
    return inputs, [row("output", i, n) for i, n in enumerate(graph.outputs)]


def driver(target: Target) -> Path:
    """The C file of the target's UART driver, its own or a shipped one. TargetError when there is none."""
    if target.driver is not None:
        if not target.driver.is_file():
            raise TargetError(f"target {target.name}: its driver {target.driver} is gone. Put it there again.")
        return target.driver
    hal = data_dir("firmware_templates") / "cortex_m" / "hal" / f"{target.device.hal}.c"
    if not hal.is_file():
        name, known = target.device.hal, sorted(h.stem for h in hal.parent.glob("*.c"))
        raise TargetError(
            f"target {target.name}: device.hal = {name!r} has no driver.{did_you_mean(name, known)} Use one of: "
            f"{', '.join(known)}; or write your own, for a new chip family: {target.name}/hal.c, beside its target file."
        )
    return hal


def driver_place(target: Target) -> str:
    """Where in the firmware folder the driver goes."""
    return f"src/hal/{target.device.hal if target.driver is None else target.name}.c"


def write_skeleton(
    work: Path,
    lowered: Lowered,
    preprocess: Preprocess | None,
    target: Target,
    normalization: Normalization | None = None,
    has_source: bool = False,
    reading: str = "",
) -> None:
    """Makefile, CMakeLists.txt, README.md, src/ and tflm/main.cc into the folder `work`; `reading` says what answers mean.
    TargetError as `driver`."""
    source, hal = data_dir("firmware_templates") / "cortex_m", driver(target)
    copied = {f.relative_to(source).as_posix(): f for f in (*source.glob("*.c"), *source.glob("*.h"))}
    copied[driver_place(target).removeprefix("src/")] = hal
    for name, file in copied.items():
        place = work / "src" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    templates = sorted(t.relative_to(source).as_posix() for t in (*source.glob("*.j2"), source / "tflm" / "main.cc.j2"))
    named = [*copied, *(t.removesuffix(".j2") for t in templates)]
    sources = sorted(f"src/{name}" for name in named if name.endswith(".c") and f"src/{name}" != BUILD_ID)
    values = _values(lowered, preprocess, target, [*sources, f"model/{prefix(lowered.graph)}.c"])
    values["takes_floats"] = normalization is not None and preprocess is None
    values["has_source"] = has_source
    values["reading"] = reading
    for name in templates:
        place = work / ("" if name in TOP or "/" in name else "src") / name.removesuffix(".j2")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(render(f"cortex_m/{name}", **values), encoding="utf-8")


def _values(lowered: Lowered, preprocess: Preprocess | None, target: Target, sources: list[str]) -> dict[str, Any]:
    """What the templates may name."""
    graph = lowered.graph
    p = prefix(graph)
    inputs, outputs = io_tensors(graph, preprocess)
    return {
        "target": target,
        "prefix": p,
        "camel": "".join(word.capitalize() for word in p.split("_")),
        "inputs": len(inputs),
        "outputs": len(outputs),
        "inputs_io": inputs,
        "written": header_tensors(graph, graph.inputs, preprocess.dtype if preprocess else None),
        "answer": header_tensors(graph, graph.outputs)[0],
        "outputs_io": outputs,
        "input_bytes": sum(t.bytes for t in inputs),
        "arena_bytes": lowered.arena.arena_bytes,
        "macs": graph.macs(),
        "model_id": graph.sha256()[:16],
        "has_preprocess": preprocess is not None,
        "tools": build.TOOLS,
        "cpu_flags": build.cpu_flags(target),
        "tflm_arch": build.tflm_arch(target),
        "firmware_optimise": build.FIRMWARE_OPTIMISE,
        "model_optimise": build.MODEL_OPTIMISE,
        "sources": sources,
    }
