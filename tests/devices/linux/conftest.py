"""A loopback SSH server for each test module, on this system and in an emulated arm64 one, and small models to run on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_graphs import small_cnn
from loopback import ROOT, Pi, Wire

from pipeline.codegen.onnx.to_onnx import Raw, save, to_float_onnx, to_onnx
from pipeline.codegen.to_tflite import to_tflite
from pipeline.ir import Graph, Quant
from pipeline.preprocess import Normalization, Preprocess


@pytest.fixture(scope="module")
def graph() -> Graph:
    """A small network. Its scales are in no simple ratio: sums of such end in exact halves, which x86's and Arm's kernels
    round differently."""
    graph = small_cnn()
    odd = {n: replace(graph[n], quant=Quant((0.1237,), graph[n].zero_point)) for n in ("sum", "pooled", "flat")}
    return replace(graph, tensors={**graph.tensors, **odd})


@pytest.fixture(scope="module")
def models(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx and model_float.onnx, which take raw bytes, and model.tflite of the network."""
    folder = tmp_path_factory.mktemp("models")
    raw = Raw(Preprocess("uint8", (np.arange(256) - 128).astype(np.int8)[None]), Normalization())
    (folder / "model.onnx").write_bytes(save(to_onnx(graph, raw)))
    (folder / "model_float.onnx").write_bytes(save(to_float_onnx(graph, raw)))
    (folder / "model.tflite").write_bytes(to_tflite(graph))
    return folder


KINDS = ["x86", pytest.param("arm64", marks=pytest.mark.slow)]


@pytest.fixture(scope="session")
def arm64_root() -> Path:
    """An emulated arm64 Debian with onnxruntime's aarch64 wheel (scripts/arm64_root.sh), made once and kept in build/."""
    if os.geteuid() or not shutil.which("qemu-aarch64-static"):
        pytest.skip("an arm64 root needs root rights and qemu-user-static")
    root = ROOT / "build" / "arm64-root"
    subprocess.run(
        ["sh", str(ROOT / "scripts" / "arm64_root.sh"), str(root)], check=True, env={**os.environ, "PYTHON": sys.executable}
    )
    return root


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path | None]]:
    """(folder for Pis, root they live in): on this system, or in the emulated one."""
    if request.param == "x86":
        yield tmp_path_factory.mktemp("pi"), None
        return
    root = request.getfixturevalue("arm64_root")
    folder = Path(tempfile.mkdtemp(dir=root / "tmp"))
    yield folder, root
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pi(place: tuple[Path, Path | None]) -> Iterator[Pi]:
    """A Pi in order."""
    folder, root = place
    pi = Pi(folder / "shared", root=root)
    pi.start()
    yield pi
    pi.stop()


@pytest.fixture
def own_pi(place: tuple[Path, Path | None]) -> Iterator[Pi]:
    """A Pi for one test alone, not started yet."""
    folder, root = place
    pi = Pi(Path(tempfile.mkdtemp(dir=folder)) / "pi", root=root)
    yield pi
    pi.stop()


@pytest.fixture
def small_pi(place: tuple[Path, Path | None]) -> Iterator[Callable[[int], Pi]]:
    """small_pi(bytes): a Pi for one test alone with so little disk."""
    folder, root = place
    made: list[Pi] = []

    def make(size: int) -> Pi:
        made.append(Pi(Path(tempfile.mkdtemp(dir=folder)) / "pi", mount_bytes=size, root=root))
        return made[0]

    yield make
    for pi in made:
        pi.stop()


@pytest.fixture
def wire(pi: Pi) -> Iterator[Wire]:
    wire = Wire(pi.port)
    yield wire
    wire.close()
