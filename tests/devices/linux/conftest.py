"""A loopback SSH server for each test module, and small models to run on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from example_graphs import small_cnn
from loopback import Pi, Wire

from pipeline.codegen.to_onnx import Raw, save, to_float_onnx, to_onnx
from pipeline.codegen.to_tflite import to_tflite
from pipeline.preprocess import Normalization, Preprocess


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx and model_float.onnx, which take raw bytes, and model.tflite of one small network."""
    folder = tmp_path_factory.mktemp("models")
    graph = small_cnn()
    raw = Raw(Preprocess("uint8", (np.arange(256) - 128).astype(np.int8)[None]), Normalization())
    (folder / "model.onnx").write_bytes(save(to_onnx(graph, raw)))
    (folder / "model_float.onnx").write_bytes(save(to_float_onnx(graph, raw)))
    (folder / "model.tflite").write_bytes(to_tflite(graph))
    return folder


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """A Pi in order."""
    pi = Pi(tmp_path_factory.mktemp("pi"))
    pi.start()
    yield pi
    pi.stop()


@pytest.fixture
def own_pi(tmp_path: Path) -> Iterator[Pi]:
    """A Pi for one test alone, not started yet."""
    pi = Pi(tmp_path / "pi")
    yield pi
    pi.stop()


@pytest.fixture
def wire(pi: Pi) -> Iterator[Wire]:
    wire = Wire(pi.port)
    yield wire
    wire.close()
