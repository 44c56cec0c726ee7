"""Every task from a recipe to an emulated board, on real data, judged by what the board said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from json_outputs import check
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.locations import data_dir
from pipeline.strict import read_toml
from pipeline.tasks import read_recipe
from pipeline.tasks.regression import Regression

pytestmark = [pytest.mark.cross, pytest.mark.qemu]
REPLAYED = 100  # of the digits


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(folder: Path, recipe: Path, *settings: str) -> dict[str, Any]:
    """The report of a run in `folder`, on one board; every vector must be bit-exact."""
    report = outcome(folder, recipe, "cortex-m4", *settings)
    check(report, "report")
    assert report["bit_exact"]["vectors"] == report["bit_exact"]["equal"]
    return report


def outcome(folder: Path, recipe: Path, targets: str, *settings: str) -> dict[str, Any]:
    """What `pipeline run` writes in `folder`; `targets` are their names."""
    words = [w for s in settings for w in ("--set", s)] + [w for t in targets.split() for w in ("--target", t)]
    done = CliRunner().invoke(app, ["run", str(recipe), "--json", "out.json", *words])
    assert done.exit_code == 0, done.stderr
    written: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return written


def replayed(run: Path, **arrays: Any) -> dict[str, Any]:
    """What `pipeline measure` says of the firmware that a run left in `run`."""
    np.savez("again.npz", **arrays)
    words = ["measure", str(run / "firmware"), "--inputs", "again.npz", "--json", "again.json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    measured: dict[str, Any] = json.loads(Path("again.json").read_text())
    check(measured, "measure")
    return measured


def only_run(folder: Path) -> Path:
    (built,) = folder.glob("build/*")
    return built


def of_example(name: str, source: str) -> Dataset:
    task = read_recipe(read_toml(data_dir("examples") / f"{name}.toml")["task"], "task")
    return load(DataRecipe(source), 1, task_recipe=task)


def own_recipe(folder: Path, form: str, **arrays: Any) -> Path:
    np.savez(folder / "data.npz", **arrays)
    (folder / "recipe.toml").write_text(
        f'name = "own"\nseed = 1\n[task]\nform = "{form}"\n[data]\nsource = "data.npz"\nmean = 8.0\nstd = 8.0\n'
        '[model]\nfactory = "digits_cnn"\narguments = { width = 8 }\n[train]\nepochs = 6\nlearning_rate = 0.01\n'
        "[prune]\nkeep = 0.7\nepochs = 2\n[distill]\nepochs = 2\n"
    )
    return folder / "recipe.toml"


def digits(label: Any) -> dict[str, Any]:
    """The bundled digits with other labels: `label` of an array of digits."""
    data = load(DataRecipe(), 0)
    x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    return {"x_train": x, "y_train": label(y), "x_test": data.x_test, "y_test": label(data.y_test)}


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a run for a board and a computer, and what it says of both."""
    folder = tmp_path_factory.mktemp("diabetes")
    settings = ("prune.keep=0.6", "distill.epochs=5", 'task.unit="points"', "measure.seconds=0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        both = outcome(folder, data_dir("examples") / "diabetes.toml", "cortex-m4 raspberry-pi-4", *settings)
    check(both, "outcome")
    (run,) = folder.glob("build/*")
    return run, both


def test_regression_of_diabetes(diabetes: tuple[Path, dict[str, Any]]) -> None:
    run, both = diabetes
    built, report = run / "cortex-m4", both["targets"][0]
    assert report["bit_exact"]["vectors"] == report["bit_exact"]["equal"]
    scores = report["scores"]
    assert report["task"] == "regression"
    assert "accuracy" not in report
    assert all(s["r2"] > 0.35 for s in scores.values()), "0 is who always answers the mean"
    data = of_example("diabetes", "diabetes")
    by_mean = np.abs(data.y_test - data.y_test.mean()).mean()
    assert scores["device"]["mae"] < 0.8 * by_mean
    assert scores["device"] == scores["int8"], "the board answers as the reference does"
    assert scores["int8"]["r2"] == pytest.approx(scores["distilled"]["r2"], abs=0.02)
    assert report["kinds"]["scores"]["device"]["r2"] == "simulated"
    assert {p.stem for p in (built / "plots").iterdir()} == {"score", "cost", "layers", "answers"}
    assert "MAE, points" in (built / "report.html").read_text()
    assert isinstance(data.task, Regression)
    formula = f"`0` = {data.task.std[0]:.9g} * real + {data.task.mean[0]:.9g} points."
    assert formula in (built / "firmware" / "README.md").read_text()
    again = replayed(built, x=data.x_test, y=data.y_test)
    assert again["scores"] == pytest.approx(scores["device"], rel=1e-6)
    assert again["accuracy"] == {"device": None, "recall": None}


def test_numbers_of_a_board_and_a_computer(diabetes: tuple[Path, dict[str, Any]]) -> None:
    both = diabetes[1]
    board, computer = both["targets"]
    assert computer["scores"]["device"]["r2"] == pytest.approx(board["scores"]["device"]["r2"], abs=0.01)
    assert computer["stages"][-1]["metrics"]["float_r2"] == pytest.approx(board["scores"]["distilled"]["r2"], abs=0.01)
    assert computer["agreement"]["top1"] is both["agreement"][0]["top1"] is None, (
        "no value is an answer by being the largest"
    )
    assert both["agreement"][0]["max_lsb"] <= 2


def test_reconstruction_of_digits(tmp_path: Path) -> None:
    report = run(tmp_path, data_dir("examples") / "digits_anomaly.toml", "train.epochs=20")
    scores = report["scores"]
    assert report["task"] == "reconstruction"
    assert scores["device"]["auc"] > 0.9
    assert scores["device"]["mse"] < 0.5 * scores["device"]["mse_anomalous"]
    assert scores["device"] == scores["int8"]
    data = of_example("digits_anomaly", "digits")
    assert data.y_test.sum() == 35, "the zeros of the test split"
    again = replayed(only_run(tmp_path), x=data.x_test, y=data.y_test)
    assert again["scores"] == pytest.approx(scores["device"], rel=1e-4)
    assert set(replayed(only_run(tmp_path), x=data.x_test[data.y_test == 0][:20])["scores"]) == {"mse"}


def test_two_classes_with_one_logit(tmp_path: Path) -> None:
    arrays = digits(lambda y: (y >= 5).astype(np.int64))
    report = run(tmp_path, own_recipe(tmp_path, "one_logit", **arrays), f"measure.vectors={REPLAYED}")
    assert all(a > 0.85 for a in report["accuracy"].values()), "half the digits are 5 or more"
    firmware = json.loads((only_run(tmp_path) / "firmware" / "manifest.json").read_text())
    assert firmware["model"]["task"] == {"kind": "classification", "classes": ["0", "1"], "form": "one_logit"}
    again = replayed(only_run(tmp_path), x=arrays["x_test"][:REPLAYED], y=arrays["y_test"][:REPLAYED])
    assert again["accuracy"]["device"] == report["accuracy"]["device"]


def test_several_labels_at_once(tmp_path: Path) -> None:
    arrays = digits(lambda y: np.stack([y >= 5, y % 2 == 1, y % 3 == 0], axis=1).astype(np.uint8))
    arrays["classes"] = np.array(["large", "odd", "by three"])
    report = run(tmp_path, own_recipe(tmp_path, "multi_label", **arrays), f"measure.vectors={REPLAYED}")
    assert all(a > 0.7 for a in report["accuracy"].values()), "all three right; who always says the commonest set has 0.2"
    device = report["stages"][-1]["metrics"]
    assert device["f1_macro"] > 0.85
    assert {"recall_large", "recall_odd", "recall_by three"} <= set(device)
    again = replayed(only_run(tmp_path), x=arrays["x_test"][:REPLAYED], y=arrays["y_test"][:REPLAYED])
    assert again["accuracy"]["device"] == report["accuracy"]["device"]
    assert set(again["accuracy"]["recall"]) == {"large", "odd", "by three"}
