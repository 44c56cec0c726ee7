"""docs/extending.md, word for word: its files are written where it says, its commands run in their order, and what comes out
is looked at. A board, a data source, a loss, a stage and a tracker need nothing of `pipeline/`; an operator, in a copy."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import FloatModel
from pipeline.data import dataset, source
from pipeline.errors import RecipeError
from pipeline.host.users_code import users_object
from pipeline.recipe import load
from pipeline.replay import measure

sys.path.insert(0, str(Path(__file__).parent / "stages"))
from recording import context

pytestmark = [pytest.mark.cross, pytest.mark.qemu]
ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
OUTSIDE, HEADING, CHECKOUT = PAGE.partition("\n## 7. An operator\n")
BLOCK = re.compile(r"(?:^\*\*`([^`\n]+)`\*\*\n\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODULES = ("rows", "losses", "averaging", "journal")
BOARD = "netduino-plus-2"


@dataclass(frozen=True)
class Followed:
    """Where a reader stands at the end, and what the commands said."""

    folder: Path
    said: str


def follow(text: str, folder: Path, code: Path) -> Followed:
    """Do what `text` says, from `folder` on, with the package in `code`."""
    said = ""
    for file, language, block in BLOCK.findall(text):
        if file:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(block, encoding="utf-8")
        elif language == "diff":
            shell("git apply -", folder, code, block)
        else:
            assert language == "sh", f"a block of the page that nobody follows: {block}"
            *lines, where = shell(f"{block}pwd", folder, code).splitlines()
            folder, said = Path(where), said + "\n".join([*lines, ""])
    return Followed(folder, said)


def shell(commands: str, folder: Path, code: Path, given: str = "") -> str:
    """What the commands print. They find the `pipeline`, `pytest` and `python` of this test, and the package in `code`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV_", "MLFLOW"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    done = subprocess.run(
        ["sh", "-ec", commands],
        cwd=folder,
        env={**kept, "PATH": path, "PYTHONPATH": str(code), "COLUMNS": "200"},
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    return follow(OUTSIDE, tmp_path_factory.mktemp("extending"), ROOT)


@pytest.fixture
def run(project: Followed) -> Path:
    return project.folder / "build" / f"mine-{BOARD}-1"


@pytest.fixture(scope="module")
def journal(project: Followed) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (project.folder / "runs.jsonl").read_text().splitlines()]


def test_the_page_is_read_whole() -> None:
    assert HEADING
    assert PAGE.count("```") == 2 * len(BLOCK.findall(PAGE))


def test_the_board_is_listed(project: Followed) -> None:
    rows = dict(line.split(maxsplit=1) for line in project.said.splitlines() if len(line.split(maxsplit=1)) == 2)
    assert rows["name"] == BOARD
    assert rows["driver"] == str(project.folder / "targets" / BOARD / "hal.c")
    assert rows["tested"] == "not yet"
    assert "hal" not in rows


def test_the_board_answers_bit_for_bit_through_its_own_driver(
    project: Followed, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # without ./targets: the folder needs nothing from outside
    manifest = (run / "firmware" / "manifest.json").read_text()
    files = json.loads(manifest)["files"]
    hal = (project.folder / "targets" / BOARD / "hal.c").read_bytes()
    assert {k: v for k, v in files.items() if "/hal/" in k} == {f"src/hal/{BOARD}.c": hashlib.sha256(hal).hexdigest()}
    assert str(project.folder) not in manifest
    assert (run / "firmware" / "src" / "hal" / f"{BOARD}.c").read_bytes() == hal
    again = measure(run / "firmware", limit=8)
    assert again.measurement.device == f"{BOARD} in QEMU (netduinoplus2)"
    assert (again.bit_exact.equal, again.bit_exact.oracles["device"]) == (8, 8)


def test_the_run_says_where_the_tracker_wrote(project: Followed) -> None:
    assert "bit-exact      100 of 100 vectors: " in project.said
    assert f"journal:Journal {project.folder / 'runs.jsonl'}" in project.said
    assert not (project.folder / "mlflow_runs").exists()


def test_the_data_are_those_of_the_file(project: Followed, journal: list[dict[str, Any]], run: Path) -> None:
    from sklearn.datasets import load_digits

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        recipe = load(Path("recipe.toml"))
        data = dataset.load(recipe.data, recipe.seed, recipe.folder, recipe.task, recipe.code_folders)
    real = load_digits()
    np.testing.assert_array_equal(data.x_test[..., 0], real.images[::5])
    np.testing.assert_array_equal(data.y_test, real.target[::5])
    assert len(data.x_train) + len(data.x_val) == 1437
    (told,) = (line for line in journal if line["what"] == "dataset")
    assert (told["name"], told["source"], told["sha256"]) == ("rows", "rows:images", data.sha256)
    assert json.loads((run / "average" / "artifact.json").read_text())["data"]["sha256"] == data.sha256


def test_the_loss_is_the_focal_one(project: Followed, journal: list[dict[str, Any]]) -> None:
    import torch

    focal = users_object("loss", "losses:focal", [project.folder], "function")
    even, sure = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    assert float(focal(even, torch.tensor([1]))) == pytest.approx(0.25 * np.log(2))
    p = 1 / (1 + np.exp(-3))
    assert float(focal(sure, torch.tensor([0, 1]))) == pytest.approx(-((1 - p) ** 2) * np.log(p), rel=1e-4)
    assert began(journal, "train")["loss"] == "losses:focal"


def test_the_stage_gives_the_mean_of_its_cycles(project: Followed, journal: list[dict[str, Any]], run: Path) -> None:
    import torch

    mean = users_object("stage", "averaging:mean", [project.folder], "function")
    assert mean([torch.tensor([1.0]), torch.tensor([4.0])]) == 2.5
    assert mean([torch.tensor(1), torch.tensor(4)]) == 4
    weights = [np.load(run / stage / "weights.npz") for stage in ("train", "average")]
    assert {*weights[0]} == {*weights[1]}
    assert any((weights[0][k] != weights[1][k]).any() for k in weights[0])
    apart, accuracy, validated = (metrics(journal, "average", k) for k in ("cycles_apart", "accuracy", "val_accuracy"))
    assert [(kind, 0 < value < 1) for value, kind, _ in apart] == [("computed", True)]
    assert [(kind, value > 0.95) for value, kind, _ in accuracy] == [("computed", True)]
    assert [step for _, _, step in validated] == [0, 1, 2, 3]


def test_the_stage_leaves_its_artifact_as_it_is(project: Followed, tmp_path: Path) -> None:
    recipe = load(project.folder / "recipe.toml")
    data = dataset.load(dataset.DataRecipe(limit=100), 1)
    module = source.load(recipe.model, data, 1).module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    ctx, log = context(tmp_path)
    made = next(s for s in recipe.stages if s.name == "average").run(FloatModel(module, data, module), ctx)
    assert all(value.equal(before[name]) for name, value in module.state_dict().items())
    assert made.module is not module
    assert made.teacher is module
    assert not made.module.training
    assert [file.name for file in log.files] == ["weights.npz"]


def test_a_setting_out_of_range_is_refused_when_the_recipe_is_read(project: Followed) -> None:
    (setting,) = re.findall(r"`--set '(.+?)'` is refused when the recipe is read", PAGE)
    with pytest.raises(RecipeError, match=r"averaging:Average\.cycles = 1 is out of range; it must be between 2 and 100"):
        load(project.folder / "recipe.toml", [setting])


def test_the_trackers_file_has_every_stage(journal: list[dict[str, Any]], run: Path) -> None:
    stages = ["train", "average", "quantize", "codegen", "measure"]
    for what in ("begin", "end"):
        assert [line["stage"] for line in journal if line["what"] == what and line["stage"]] == stages
    assert {line["run"] for line in journal} == {run.name}
    assert journal[0]["experiment"] == "mine"
    assert (journal[-1]["what"], journal[-1]["error"]) == ("end", None)
    assert began(journal, "average") == {"cycles": 4, "epochs": 1, "learning_rate": 0.003, "batch_size": 64}
    assert [kind for _, kind, _ in metrics(journal, "measure", "latency_us_median")] == ["simulated"]
    told = {f"{line['folder']}/{line['name']}": line["sha256"] for line in journal if line["what"] == "file"}
    for name in ("firmware/./manifest.json", f"firmware/src/hal/{BOARD}.c"):
        assert told[name] == hashlib.sha256((run / name).read_bytes()).hexdigest()


def began(journal: list[dict[str, Any]], stage: str) -> dict[str, Any]:
    (found,) = (line["values"] for line in journal if (line["stage"], line["what"]) == (stage, "begin"))
    return dict(found)


def metrics(journal: list[dict[str, Any]], stage: str, name: str) -> list[tuple[float, str, int | None]]:
    """(value, kind, step) of each time that it was told."""
    told = [line for line in journal if (line["stage"], line["what"]) == (stage, "metrics")]
    return [(line["values"][name], line["kind"], line["step"]) for line in told if name in line["values"]]


def test_it_runs_again_from_what_it_saved(project: Followed, run: Path, tmp_path: Path) -> None:
    """Without the modules that it was made from: to the same weights, bit for bit."""
    gone = [f"{name}.py" for name in MODULES]
    again = Path(shutil.copytree(project.folder, tmp_path / "again", ignore=shutil.ignore_patterns(*gone)))
    shutil.copytree(run / "code", again / run.relative_to(project.folder) / "code", dirs_exist_ok=True)
    shell(f"pipeline run build/{run.name}/recipe.toml --target {BOARD} --until average", again, ROOT)
    first, second = (np.load(folder / "average" / "weights.npz") for folder in (run, again / "build" / f"mine-{BOARD}-2"))
    assert {*first} == {*second}
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_the_operator_passes_four_ways(tmp_path: Path) -> None:
    for name in ("pipeline", "firmware_templates", "targets", "calibration", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    verbose = CHECKOUT.replace("\npytest tests/ops ", "\npytest -p no:cacheprovider -v tests/ops ")
    assert verbose != CHECKOUT
    said = follow(verbose, tmp_path, tmp_path).said
    cases = set(re.findall(r"test_reference_equals_tflm\[abs-(\w+)\] PASSED", said))
    assert {"plain", "same_quant", "saturating", "zero_points_low", "scale_7"} < cases
    for test in (
        "test_ops.py::test_has_cases[abs]",
        "test_ops.py::test_host_c_equals_reference[abs-]",
        "test_ops.py::test_board_equals_reference[abs-]",
        "test_adding.py::test_an_operator_is_known_to_its_importers_alone[abs]",
        *(f"test_ops_onnx.py::test_onnx_is_within_its_tolerance[abs-{name}]" for name in cases),
        *(f"test_ops_saved.py::test_it_comes_back_equal[abs-{name}]" for name in cases),
    ):
        assert f"tests/ops/{test} PASSED" in said
    for name in cases:
        assert f"tests/importers/test_tflite_operators.py::test_round_trip[abs-{name}] PASSED" in said
    assert re.search(r"\d+ passed, \d+ deselected in", said)
    counted = "import sys; sys.path.append('tests/counts'); import kernel_cases; print(*kernel_cases.kernel_cases())"
    assert "abs/plain" in shell(f'python -c "{counted}"', tmp_path, tmp_path).split()
