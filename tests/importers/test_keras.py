"""What the Keras importer needs, and says where it has not got it. With TensorFlow: test_keras_conversion.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.errors import BuildError, GraphError, RecipeError
from pipeline.importers.keras import import_keras


def test_needs_calibration(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"model\.keras is a float model; to quantize it, real inputs are needed"):
        import_keras(tmp_path / "model.keras", None)


def test_needs_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(BuildError, match=r"pip install 'tinyml-pipeline\[keras\]'"):
        import_keras(tmp_path / "model.keras", tmp_path / "samples.npz")


def test_a_file_cut_off(tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_bytes(b"PK\x03\x04" + bytes(500))
    with pytest.raises(GraphError, match=r"net\.keras is not a \.keras file \(a zip archive\), or is cut off"):
        import_keras(tmp_path / "net.keras", tmp_path / "calibration.npz")
