"""What each layer of a firmware executes, counted as tests/counts counts: in a build with marks between the layers."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench_rows import LayerCost

from pipeline.artifacts import Firmware
from pipeline.firmware.manifest import read_manifest
from pipeline.lowering.lower import Layer, Lowered, lowered_with
from pipeline.proof.prove import RANDOM_VECTORS
from pipeline.proof.vectors import random
from pipeline.target import Target

COUNTS = Path(__file__).resolve().parents[1] / "tests" / "counts"
sys.path.append(str(COUNTS))

from counted import count  # noqa: E402


def layer_costs(firmware: Firmware, target: Target) -> tuple[LayerCost, ...]:
    """Of one inference of the vector that the firmware was timed with. A mark between two layers costs two instructions, and
    keeps the compiler from moving code across it: their sum is not quite the whole inference's count."""
    lowered = _as_written(firmware)
    vectors = random(lowered.graph, RANDOM_VECTORS, firmware.model.preprocess)
    first = tuple(x[:1] for x in vectors.int8_inputs)
    with tempfile.TemporaryDirectory() as folder:
        [counted] = count((lowered,), (first,), target, Path(folder))
    return tuple(
        LayerCost(size.kind, size.shape, layer.chosen.name, instructions)
        for size, layer, instructions in zip(lowered.sizes, lowered.layers, counted.instructions[:-1], strict=True)
    )


def _as_written(firmware: Firmware) -> Lowered:
    """The firmware's graph with the variants that its manifest names."""
    graph = firmware.model.graph
    named = [str(layer["variant"]) for layer in read_manifest(firmware.folder)["layers"]]
    chosen = [next(v for v in op.variants(graph) if v.name == n) for op, n in zip(graph.ops, named, strict=True)]
    return lowered_with(graph, [Layer(op, (), variant) for op, variant in zip(graph.ops, chosen, strict=True)])
