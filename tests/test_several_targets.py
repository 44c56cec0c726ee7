"""One run to a microcontroller and a Linux computer: shared stages once, both ends proven, and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from json_outputs import check
from typer.testing import CliRunner

from pipeline.cli import app

pytestmark = [pytest.mark.cross, pytest.mark.qemu]
RECIPE = """
name = "both"
seed = 3
[data]
source = "digits"
[model]
factory = "digits_cnn"
[train]
epochs = 3
[quantize]
[measure]
vectors = 40
seconds = 0.1
"""


def test_two_families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(RECIPE)
    command = ["run", "r.toml", "-t", "cortex-m4", "-t", "raspberry-pi-4", "--json", "both.json"]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "no raspberry-pi-4 was measured" in said
    assert "cortex-m4 and raspberry-pi-4 give the same class" in said
    both = json.loads((tmp_path / "both.json").read_text())
    check(both, "outcome")
    board, pi = both["targets"]
    assert (board["kinds"]["measurement"]["ram_bytes"], pi["kinds"]["measurement"]["ram_bytes"]) == ("computed", "host")
    assert [s["name"] for s in board["stages"]] == [s["name"] for s in pi["stages"]]
    assert board["stages"][:2] == pi["stages"][:2], "train and quantize ran once"
    assert board["bit_exact"]["equal"] == board["bit_exact"]["vectors"] == 40
    assert (pi["measurement"]["clock"], pi["measurement"]["energy_uj"]) == ("host", None)
    assert pi["agreement"]["vectors"] == 40
    (pair,) = both["agreement"]
    # The board is the reference's equal, so both comparisons are of the same answers.
    assert pair["max_lsb"] == pi["agreement"]["max_lsb"]
    assert pair["equal_values"] == pytest.approx(pi["agreement"]["equal_values"])
    (folder,) = (tmp_path / "build").iterdir()
    assert (folder / "cortex-m4" / "firmware" / "build").is_dir()
    assert (folder / "raspberry-pi-4" / "firmware" / "model.onnx").is_file()
    for target in ("cortex-m4", "raspberry-pi-4"):
        assert (folder / target / "report.html").is_file()
