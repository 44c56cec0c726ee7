"""The real stages, from a recipe to an emulated board, through the command line. Training is short: not judged here."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from json_outputs import check
from typer.testing import CliRunner

from pipeline.cli import app

pytestmark = [pytest.mark.cross, pytest.mark.qemu, pytest.mark.unmeasured]


@pytest.fixture(autouse=True)
def _default_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


SHORT = [
    *("--set", "train.epochs=2", "--set", "prune.epochs=2", "--set", "distill.epochs=1"),
    *("--set", "codegen.vectors=8", "--set", "measure.vectors=24"),
]


def pipeline(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own, recording into the default store."""
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, words)]
    settings = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return subprocess.run(command, cwd=cwd, env={**settings, "COLUMNS": "80"}, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the bundled recipe was run once, shortened, from a working folder of its own."""
    folder = tmp_path_factory.mktemp("work")
    done = pipeline("run", "--target", "cortex-m4", "--json", "out.json", *SHORT, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


def report_of(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return read


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_report(folder: Path) -> None:
    run = folder / "build" / "digits-cortex-m4-1"
    read = report_of(run)
    assert json.loads((folder / "out.json").read_text()) == read
    check(read, "report")
    assert [s["name"] for s in read["stages"]] == ["train", "prune", "distill", "quantize", "codegen", "measure"]
    assert set(read["accuracy"]) == {"float", "pruned", "distilled", "int8", "device"}
    assert all(0.3 < a <= 1 for a in read["accuracy"].values())
    exact = read["bit_exact"]
    assert exact["vectors"] == exact["equal"] == exact["oracles"]["device"] == exact["oracles"]["host_c"] == 24
    measured = read["measurement"]
    assert (measured["clock"], measured["energy_kind"]) == ("simulated", "estimated")
    assert 100_000 < measured["instructions"] < measured["cycles"]
    assert measured["latency_us_median"] == pytest.approx(measured["cycles"] / 120, rel=1e-6)
    assert measured["energy_uj"] == pytest.approx(measured["latency_us_median"] * 43.6 / 1000)
    macs = {s["name"]: s["metrics"].get("macs") for s in read["stages"]}
    assert macs["quantize"] <= macs["train"] / 2


def test_terminal(folder: Path) -> None:
    table = (folder / "stdout.txt").read_text()
    places = table[table.index("run folder") :]
    assert max(map(len, table.removesuffix(places).splitlines())) <= 80
    assert re.search(r"bit-exact +24 of 24 vectors", table)
    run = folder / "build" / "digits-cortex-m4-1"
    for place in (run, run / "firmware", run / "report.html"):
        assert str(place) in places
        assert place.exists()
    progress = (folder / "stderr.txt").read_text().splitlines()
    assert len(progress) < 25
    assert any(line.startswith("measure: images replayed 24/24") for line in progress)


def test_record(folder: Path) -> None:
    from mlflow.tracking import MlflowClient

    read = report_of(folder / "build" / "digits-cortex-m4-1")
    client = MlflowClient(f"sqlite:///{folder}/mlflow_runs/mlflow.db")
    parent = client.get_run(read["run_id"])
    assert parent.info.status == "FINISHED"
    found = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{read['run_id']}'")
    nested = {r.info.run_name: r for r in found}
    assert {n: r.info.status for n, r in nested.items()} == {s["name"]: "FINISHED" for s in read["stages"]}
    for stage in read["stages"]:
        assert nested[stage["name"]].data.metrics.items() >= stage["metrics"].items()
    assert nested["prune"].data.params["keep"] == parent.data.params["prune.keep"]
    assert "latency_us_median" in nested["measure"].data.tags["kind.simulated"]
    assert nested["measure"].data.tags["kind.estimated"] == "energy_uj"
    assert parent.inputs.dataset_inputs[0].dataset.name == "digits"
    firmware = {f.path for f in client.list_artifacts(read["run_id"], "firmware")}
    assert {"firmware/model.tflite", "firmware/manifest.json", "firmware/model"} <= firmware


def test_the_same_recipe_and_seed_give_the_same_firmware(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder / "build" / "digits-cortex-m4-1"
    monkeypatch.chdir(folder)
    # What was resolved, run again, in another process than the first.
    done = CliRunner().invoke(app, ["run", str(first / "recipe.toml"), "--target", "cortex-m4"])
    assert done.exit_code == 0, done.stderr
    second = folder / "build" / "digits-cortex-m4-2"
    reports = [report_of(run) for run in (first, second)]
    assert reports[0].pop("run_id") != reports[1].pop("run_id")
    assert reports[0] == reports[1]
    assert sha256(first / "firmware" / "build" / "digits.bin") == sha256(second / "firmware" / "build" / "digits.bin")


def test_a_model_of_ones_own_runs_as_init_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["init", "mine"]).exit_code == 0
    done = CliRunner().invoke(app, ["run", "mine/recipe.toml", "--target", "cortex-m4", *SHORT])
    assert done.exit_code == 0, done.stderr
    assert re.search(r"bit-exact +24 of 24 vectors", done.stdout)
    assert report_of(tmp_path / "build" / "own-model-cortex-m4-1")["bit_exact"]["equal"] == 24


def test_a_model_too_large_for_its_target(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "targets").mkdir()
    text = 'inherits = "cortex-m4"\ndescription = "tiny"\nsource = "this test"\n[memory]\nflash_bytes = 4096\n'
    (folder / "targets" / "tiny.toml").write_text(text)
    monkeypatch.chdir(folder)
    distilled = folder / "build" / "digits-cortex-m4-1" / "distill"
    done = CliRunner().invoke(app, ["run", "--target", "tiny", *SHORT, "--from", str(distilled)])
    assert done.exit_code == 2
    assert "codegen   failed" in done.stderr
    assert "4,096" in done.stderr
    assert done.stderr.rstrip().endswith(f"What was made until then is in {folder}/build/digits-tiny-1.failed.")
    assert "Traceback" not in done.stderr
    assert [p.name for p in (folder / "build").glob("digits-tiny*")] == ["digits-tiny-1.failed"]
    assert not (folder / "build" / "digits-tiny-1.failed" / "firmware").exists()
