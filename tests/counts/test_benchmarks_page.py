"""docs/benchmarks.md is of this code: each layer on it runs by the variant and with the instructions that stand there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import benchmarks_page
import counted
import pytest
from benchmarks_page import PAGE, Layers
from count_table import TOLERANCE_PERCENT

from pipeline import target as targets
from pipeline.compile import import_model
from pipeline.lowering.budget import budget_of
from pipeline.lowering.lower import lower
from pipeline.passes import optimize
from pipeline.proof.prove import RANDOM_VECTORS
from pipeline.proof.vectors import random

TEXT = PAGE.read_text(encoding="utf-8")
LAYERS = {of.model: of for of in benchmarks_page.layers(TEXT)}
AGAIN = "the command at the top of docs/benchmarks.md writes it anew; its diff goes with the change and its reason."


def test_the_four_models_are_there() -> None:
    assert set(LAYERS) == {"resnet8", "ds_cnn", "mobilenet_v1_025", "fc_autoencoder"}
    assert {(of.core, of.optimize) for of in LAYERS.values()} == {("cortex-m4", "speed")}


@pytest.mark.parametrize("model", LAYERS)
def test_layers_add_up_to_the_whole(model: str) -> None:
    of = LAYERS[model]
    assert sum(of.instructions) == pytest.approx(of.total, rel=TOLERANCE_PERCENT / 100)


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.parametrize("model", LAYERS)
def test_layers_are_as_on_the_page(shared: Path, model: str, tmp_path: Path) -> None:
    of = LAYERS[model]
    if (ours := counted.compiler()) != (theirs := benchmarks_page.compiler(TEXT)):
        pytest.skip(f"the page is of {theirs!r}, this machine has {ours!r}; {AGAIN}")
    path = shared / "models" / "mlperf_tiny" / model / f"{model}_int8.tflite"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == of.sha256
    variants, instructions = layers_now(path, of, tmp_path)
    assert variants == of.variants, AGAIN
    apart = [
        f"layer {i} ({variant}): {now:,} instructions, on the page are {was:,}"
        for i, (variant, was, now) in enumerate(zip(variants, of.instructions, instructions, strict=True))
        if abs(now - was) * 100 > was * TOLERANCE_PERCENT
    ]
    assert not apart, "\n".join(["", *apart, AGAIN])


def layers_now(path: Path, of: Layers, folder: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    target = targets.load(of.core)
    graph = optimize(import_model(path).graph)
    lowered = lower(graph, target.cpu, target.memory, budget_of(of.optimize, None, None))
    inputs = tuple(x[:1] for x in random(graph, RANDOM_VECTORS).int8_inputs)
    [now] = counted.count((lowered,), (inputs,), target, folder)
    return lowered.variants, now.instructions[:-1]
