"""What a TFLite Micro project needs of a model: the file as a C array, exactly the operators, and the arena size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.codegen.c_text import integer_rows
from pipeline.codegen.templates import render
from pipeline.codegen.to_c import prefix
from pipeline.codegen.to_tflite import tflite_nodes
from pipeline.errors import RecipeError
from pipeline.ir import Graph
from pipeline.lowering.arena import ALIGNMENT
from pipeline.lowering.lower import Lowered
from pipeline.measurement.kind import Kind

SOURCES = ("model_data.h", "model_data.c", "op_resolver.h")
LIBRARY = "libtensorflow-microlite.a"
# MicroMutableOpResolver's methods are the builtin names in camel case, but for these.
METHODS = {"PADV2": "AddPadV2", "BATCH_TO_SPACE_ND": "AddBatchToSpaceNd", "SPACE_TO_BATCH_ND": "AddSpaceToBatchNd"}


def arena_kind(manifest: Mapping[str, Any]) -> Kind:
    """Of a manifest's TFLM arena: found by trying, or a guess where TFLM can not run."""
    return "estimated" if manifest["proven"]["tflm"] is None else "computed"


def require_library(folder: Path) -> None:
    """RecipeError unless a prebuilt TFLM library lies in `folder` where the generated Makefile looks for it: there, in lib/,
    or where TFLM's own build puts it."""
    if not any((place / LIBRARY).is_file() for place in (folder, folder / "lib", *folder.glob("gen/*/lib"))):
        raise RecipeError(
            f"no {LIBRARY} in the tflm_dir {folder}, its lib/ or gen/*/lib/. Give the folder of a prebuilt TensorFlow Lite "
            "Micro, or a checkout of tflite-micro after `make -f tensorflow/lite/micro/tools/make/Makefile "
            "TARGET=cortex_m_generic TARGET_ARCH=cortex-m4+fp microlite`."
        )
    if any(c.isspace() for c in str(folder.resolve())):
        raise RecipeError(f"the tflm_dir {folder.resolve()} has a space in its path, which make can not take. Move it.")


def operators(graph: Graph) -> tuple[str, ...]:
    """The builtin operators of the graph's .tflite file, sorted."""
    return tuple(sorted({node.builtin for node in tflite_nodes(graph)}))


def resolver_method(builtin: str) -> str:
    """`AddDepthwiseConv2D` for DEPTHWISE_CONV_2D."""
    return METHODS.get(builtin) or "Add" + "".join(
        word if word[0].isdigit() else word.capitalize() for word in builtin.split("_")
    )


def arena_estimate(lowered: Lowered) -> int:
    """Bytes that should do where TFLM can not be run to find out: the activations and, per tensor and operator, TFLM's own
    structures, rounded up generously."""
    graph, plan = lowered.graph, lowered.arena
    nodes = tflite_nodes(graph)
    channels = sum(sum(graph[n].shape[:1]) for op in graph.ops for n in op.inputs if graph[n].data is not None)
    return -(-(2 * plan.arena_bytes + 4096 + 512 * len(nodes) + 16 * channels) // ALIGNMENT) * ALIGNMENT


def tflm_sources(graph: Graph, model: bytes, arena_bytes: int, arena_note: str) -> dict[str, str]:
    """`model_data.h`, `model_data.c` and `op_resolver.h` by file name. `arena_note` says how the size was found."""
    p = prefix(graph)
    values = {
        "name": graph.name,
        "p": p,
        "P": p.upper(),
        "camel": "".join(word.capitalize() for word in p.split("_")),
        "bytes": len(model),
        "rows": integer_rows(np.frombuffer(model, np.uint8), 4),
        "alignment": ALIGNMENT,
        "arena_bytes": arena_bytes,
        "arena_note": arena_note,
        "methods": [resolver_method(op) for op in operators(graph)],
    }
    return {name: render(f"cortex_m/tflm/{name}.j2", **values) for name in SOURCES}
