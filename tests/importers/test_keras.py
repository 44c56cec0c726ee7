"""What the Keras importer needs, and says where it has not got it. With TensorFlow: test_keras_conversion.py."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import BuildError, GraphError, RecipeError
from pipeline.importers.keras import HDF5, import_keras


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """What looks like a .keras file from outside."""
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    return tmp_path / "model.keras"


def test_needs_calibration(model: Path) -> None:
    with pytest.raises(RecipeError, match=r"model\.keras is a float model; to quantize it, real inputs are needed"):
        import_keras(model, None)


def test_needs_tensorflow(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(BuildError, match=r"pip install 'tinyml-pipeline\[keras\]'"):
        import_keras(model, model.with_name("samples.npz"))


@pytest.mark.parametrize("calibration", [None, Path("calibration.npz")])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.keras", b"PK\x03\x04" + bytes(500), r"net\.keras is not a \.keras file \(a zip archive\), or is cut off"),
        ("net.h5", bytes(range(256)) * 2, r"net\.h5 is not a \.h5 file \(HDF5\), or is cut off; save"),
        ("net.h5", b"", r"net\.h5 is not a \.h5 file"),
        ("net.h5", HDF5[:4], r"net\.h5 is not a \.h5 file"),
    ],
    ids=["keras_cut_off", "h5_noise", "h5_empty", "h5_cut_off"],
)
def test_what_the_file_is_comes_first(
    name: str, content: bytes, message: str, calibration: Path | None, tmp_path: Path
) -> None:
    """No samples help a file that is no model."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GraphError, match=message) as e:
        import_keras(tmp_path / name, calibration)
    assert "float model" not in str(e.value)


def test_a_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(GraphError, match=r"is a folder without saved_model\.pb, .* or the folder that model\.export\(\) or"):
        import_keras(tmp_path, None)


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"gone\.h5 can not be read: No such file or directory\."):
        import_keras(tmp_path / "gone.h5", None)
