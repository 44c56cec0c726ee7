"""Every way a .tflite file can be wrong: the message names tensor or operator, and says what would work."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import GraphError
from pipeline.importers.tflite import reader as tflite_reader
from pipeline.importers.tflite.importer import load_tflite
from pipeline.ir import Graph
from tests.importers.tflite_edit import (
    FILES,
    edited,
    file,
)
from tests.importers.tflite_faults import BAD

OTHER_ARITHMETIC = {
    "cnn_float": r"CONV_2D '.*' \(operator 0\) computes in float: this is a float model",
    "cnn_float16": r"CONV_2D '.*' \(operator 4\) computes in float: this is a float model",
    "wide_hybrid": r"FULLY_CONNECTED '.*' \(operator 0\) is hybrid: int8 weights, float arithmetic",
    "cnn_16x8": r"CONV_2D '.*' \(operator 1\) has 16-bit activations \(a 16x8 model\)",
}


@pytest.mark.parametrize("name", OTHER_ARITHMETIC)
def test_only_int8(name: str) -> None:
    """The reason, and what to do."""
    with pytest.raises(GraphError, match=OTHER_ARITHMETIC[name]) as e:
        load_tflite(FILES / f"{name}.tflite")
    assert "pass the Keras or ONNX model with --calibration instead" in str(e.value)
    assert e.value.exit_code == 2


def test_control_flow() -> None:
    with pytest.raises(GraphError, match=r"looping\.tflite holds 3 subgraphs \(control flow or several signatures\)"):
        load_tflite(FILES / "looping.tflite")


def test_shapes_left_open() -> None:
    message = (
        r"RESHAPE '\S*' .*new shape \[1, 8, 8, 2\] contradicts the declared shape, which has \[1, 1, 8, 2\].*"
        r"leaves the shape of '\S*' open \(-1, -1, .*fixed batch size of 1"
    )
    with pytest.raises(GraphError, match=message):
        load_tflite(FILES / "upsampled_open_batch.tflite")


@pytest.mark.parametrize("case", BAD)
def test_bad_file(case: str) -> None:
    name, edit, message = BAD[case]
    with pytest.raises(GraphError, match=message):
        load_tflite(edited(file(name), edit))


RAW = {
    "empty": (b"", r"model is empty: 0 bytes; make or download it again"),
    "cut in the magic": (file("cnn_int8")[:6], r"model is cut short: 6 bytes; make or download it again"),
    "something else": (b"\x7fELF" + bytes(100), r"model is not a \.tflite file: bytes 4 to 7 must be b'TFL3', got b'\\x00"),
    "only the magic": (bytes(4) + b"TFL3", r"model: the file refers to bytes that it does not have|version 0"),
    "half a file": (file("cnn_int8")[:2000], r"refers to bytes that it does not have: it is cut short, or corrupt; make or"),
    "last byte missing": (file("cnn_int8")[:-1], r"cut short|corrupt|custom|not supported"),
}


@pytest.mark.parametrize("case", RAW)
def test_bad_bytes(case: str) -> None:
    content, message = RAW[case]
    with pytest.raises(GraphError, match=message):
        load_tflite(content)


def test_a_file_is_called_as_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "net.v2.tflite"
    for size, message in (
        (6, " is cut short: 6 bytes"),
        (2000, ": operator 0: the file refers to bytes that it does not have"),
    ):
        path.write_bytes(file("cnn_int8")[:size])
        with pytest.raises(GraphError) as e:
            load_tflite(path)
        assert str(e.value).startswith(f"{path}{message}")
    path.write_bytes(file("cnn_int8"))
    assert load_tflite(path).name == "net.v2"


def test_files_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GraphError, match=r"nope\.tflite can not be read: No such file"):
        load_tflite(tmp_path / "nope.tflite")
    with pytest.raises(GraphError, match=r"can not be read: Is a directory"):
        load_tflite(tmp_path)
    monkeypatch.setattr("pipeline.importers.tflite.importer.MAX_FILE_BYTES", 1000)
    with pytest.raises(GraphError, match=r"cnn_int8\.tflite has 4,704 bytes; models of up to 1,000 bytes are read"):
        load_tflite(FILES / "cnn_int8.tflite")


def test_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors may share one long vector many times over: a small file that costs much more than its size."""
    monkeypatch.setattr(tflite_reader, "MAX_SCALES", 20)
    with pytest.raises(GraphError, match=r"too many scales in all"):
        load_tflite(file("cnn_int8"))
    monkeypatch.setattr(tflite_reader, "MAX_CONSTANT_BYTES", 300)
    with pytest.raises(GraphError, match=r"too many constant bytes in all"):
        load_tflite(file("cnn_int8"))
    monkeypatch.setattr(tflite_reader, "MAX_ITEMS", 10)
    with pytest.raises(GraphError, match=r"18 tensors; at most 10 are read"):
        load_tflite(file("cnn_int8"))


def test_the_edits_start_from_a_good_file() -> None:
    for name in {name for name, _, _ in BAD.values()}:
        assert isinstance(load_tflite(edited(file(name), lambda m: None)), Graph)
