"""TFLM on this machine, and the search for the first layer that differs."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

import numpy as np
import pytest
from example_graphs import random_inputs, small_cnn, strided, two_inputs
from example_target import host_c

from pipeline.codegen.to_tflite import to_tflite
from pipeline.errors import BuildError
from pipeline.ir import Graph
from pipeline.proof import tflm as oracle

needs_tflm = pytest.mark.skipif(not oracle.tflm_available(), reason="the tflite-micro wheel is for Linux x86-64")


@needs_tflm
def test_layers_are_the_references() -> None:
    graph = small_cnn()
    x = random_inputs(graph, 4)
    layers = oracle.tflm_layers(to_tflite(graph), *x)
    assert set(layers) == {op.output for op in graph.ops}
    assert oracle.first_difference(graph, x, layers) is None


def test_host_layers_are_the_references() -> None:
    for graph in (small_cnn(), two_inputs()):
        x = random_inputs(graph, 4)
        with host_c(graph) as host:
            layers = host.layers(*x)
        assert set(layers) == {op.output for op in graph.ops}
        assert oracle.first_difference(graph, x, layers) is None


def test_the_first_difference_is_named() -> None:
    graph = small_cnn()
    x = random_inputs(graph, 4)
    layers: dict[str, np.ndarray] = {}
    graph.trace(*x, visit=lambda name, y: layers.update({name: y.copy()}))
    layers["sum"][2, 0, 1, 3, 5] ^= 1
    layers["logits"][:] = 0
    found = oracle.first_difference(graph, x, layers)
    assert found is not None
    assert (found.op_index, found.kind, found.tensor, found.at, found.wrong) == (3, "add", "sum", (2, 0, 1, 3, 5), 1)
    assert str(found).startswith("layer 3 (add 'sum') is the first to differ: at [2, 0, 1, 3, 5]")
    del layers["sum"]
    later = oracle.first_difference(graph, x, layers)
    assert later is not None
    assert later.tensor == "logits"


def test_a_difference_within_what_is_allowed_is_passed_over() -> None:
    """Kernels that round otherwise are off by a step before the layer that is really wrong."""
    graph = small_cnn()
    x = random_inputs(graph, 4)
    layers: dict[str, np.ndarray] = {}
    graph.trace(*x, visit=lambda name, y: layers.update({name: y.astype(np.int16)}))
    layers["stem"][0, 0, 0, 0, 0] += 4
    layers["sum"][0, 0, 0, 0, 0] -= 5
    first, wrong = (oracle.first_difference(graph, x, layers, allowed) for allowed in (3, 4))
    assert first is not None
    assert wrong is not None
    assert (first.tensor, wrong.tensor) == ("stem", "sum")
    assert oracle.first_difference(graph, x, layers, 5) is None


@needs_tflm
@pytest.mark.parametrize("graph", [small_cnn(), strided()], ids=lambda g: g.name)
def test_the_smallest_arena_is_the_smallest(graph: Graph) -> None:
    model = to_tflite(graph)
    arena_bytes = oracle.smallest_arena(model)
    assert arena_bytes % 16 == 0
    assert oracle.arena_works(model, arena_bytes)
    assert not oracle.arena_works(model, arena_bytes - 16)


@needs_tflm
def test_a_file_that_tflm_refuses() -> None:
    content = bytearray(to_tflite(strided()))
    with pytest.raises(BuildError, match=r"arena size of the \.tflite file could not be found"):
        oracle.smallest_arena(bytes(content[:200]))


@needs_tflm
def test_a_search_that_hangs_ends_with_what_it_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child"
    worker = tmp_path / "python"
    worker.write_text(f"#!/bin/sh\nsleep 20 & echo $! > {shlex.quote(str(child))}; wait\n")
    worker.chmod(0o755)
    monkeypatch.setattr("pipeline.proof.tflm.sys.executable", str(worker))
    monkeypatch.setattr(oracle, "PROBE_TIMEOUT_S", 1)
    with pytest.raises(BuildError, match=r"TFLM took longer than 1 s to find the arena size and was stopped"):
        oracle.smallest_arena(b"")
    left = Path("/proc", child.read_text().strip(), "cmdline")
    assert not left.exists() or not left.read_bytes()  # gone, or ended and waited for by nobody


def test_absence_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not oracle.tflm_available()
    model = to_tflite(strided())
    for use in (lambda: oracle.tflm_run(model, *random_inputs(strided(), 1)), lambda: oracle.smallest_arena(model)):
        with pytest.raises(BuildError, match="TFLM is not on this machine: its wheel"):
            use()
