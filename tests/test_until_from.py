"""Runs that stop early and runs that start from what a stage of another one made: the same bytes as of a whole run."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from json_outputs import check
from typer.testing import CliRunner

import pipeline
from pipeline.cli import app
from pipeline.locations import data_dir

RECIPE = """
name = "small"
seed = 3
stages = ["train", "prune", "prune", "distill", "quantize", "codegen", "measure"]
[data]
source = "digits"
limit = 300
[model]
factory = "digits_cnn"
[train]
epochs = 1
[prune]
keep = 0.8
epochs = 1
steps = 1
[distill]
epochs = 1
[codegen]
vectors = 8
[measure]
vectors = 8
"""
# From which stage, up to which, and what that makes: each artifact that the next begins from. From the others goes on
# `test_a_run_that_stopped_goes_on_by_the_command_it_prints`.
PARTS = {
    "prune": ("prune", ("prune-2",)),
    "distill": ("quantize", ("quantize",)),
    "codegen": ("measure", ("measure",)),
}
# Where a run stops, what it then made, and the artifact that the next goes on from.
STOPS = {
    "train": (("train",), "train"),
    "prune": (("prune", "prune-2"), "prune-2"),
    "quantize": (("distill", "quantize"), "quantize"),
}


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, ["run", *words], env={"COLUMNS": "300"})


def binary(run: Path) -> str:
    (file,) = (run / "firmware").rglob("*.bin")
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe and build/small-cortex-m4-1, a whole run of it."""
    place = tmp_path_factory.mktemp("place")
    (place / "r.toml").write_text(RECIPE)
    board = (data_dir("targets") / "cortex-m4.toml").read_text()
    (place / "slower").mkdir()
    (place / "slower" / "cortex-m4.toml").write_text(re.sub(r"(?m)^clock_hz = .*", "clock_hz = 48_000_000", board))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        done = invoke("r.toml", "-t", "cortex-m4")
    assert done.exit_code == 0, done.output
    return place


@pytest.fixture
def whole(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place / "build" / "small-cortex-m4-1"


def saved(run: Path, stage: str) -> dict[str, bytes]:
    assert (run / stage / "artifact.json").is_file()
    return {file.name: file.read_bytes() for file in (run / stage).iterdir()}


def last_run(place: Path) -> Path:
    return max((place / "build").iterdir(), key=lambda folder: folder.stat().st_ctime_ns)  # when it got its name


def tags(run: Path) -> dict[str, str]:
    from mlflow.tracking import MlflowClient

    run_id = json.loads((run / "report.json").read_text())["run_id"]
    found = MlflowClient().get_run(run_id)
    assert found.info.status == "FINISHED"
    return dict(found.data.tags)


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.parametrize("part", PARTS)
def test_from_every_stage_come_the_same_bytes(part: str, whole: Path, place: Path) -> None:
    until, made = PARTS[part]
    done = invoke("r.toml", "-t", "cortex-m4", "--from", str(whole / part), "--until", until)
    assert done.exit_code == 0, done.output
    check_made(last_run(place), made, whole)
    check_from(last_run(place), whole / part)


def check_made(run: Path, made: tuple[str, ...], whole: Path) -> None:
    """`run` has these stages of `whole`, which gave the same bytes."""
    first, second = (json.loads((folder / "report.json").read_text()) for folder in (whole, run))
    check(second, "report")
    assert [s["name"] for s in second["stages"]] == [name.partition("-")[0] for name in made]
    if "measure" in made:
        assert binary(run) == binary(whole)
        assert second["bit_exact"] == first["bit_exact"]
        assert second["measurement"] == first["measurement"]
    else:
        assert all(saved(run, stage) == saved(whole, stage) for stage in made)


def check_from(run: Path, artifact: Path) -> None:
    assert tags(run)["from"] == str(artifact)
    assert tags(run)["from_sha256"] == hashlib.sha256((artifact / "artifact.json").read_bytes()).hexdigest()


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.unmeasured
def test_a_run_that_stopped_goes_on_by_the_command_it_prints(whole: Path, place: Path) -> None:
    """Stop after stop, to the board."""
    words: tuple[str, ...] = ("r.toml", "-t", "cortex-m4")
    before = None
    for stage, (made, last) in STOPS.items():
        done = invoke(*words, "--until", stage)
        assert done.exit_code == 0, done.output
        run = last_run(place)
        check_made(run, made, whole)
        if before is None:
            assert "from" not in tags(run)
        else:
            check_from(run, before)
        assert not (run / "firmware").exists()
        report = json.loads((run / "report.json").read_text())
        assert (report["bit_exact"], report["measurement"], report["accuracy"]["device"]) == (None, None, None)
        assert f"after {stage}, as asked: nothing was measured" in (run / "report.html").read_text()
        (said,) = (line for line in done.output.splitlines() if line.startswith("go on with"))
        command = shlex.split(said.removeprefix("go on with"))
        assert command == [
            "pipeline", "run", str(run / "recipe.toml"), "--target", "cortex-m4", "--from", str(run / last),
        ]  # fmt: skip
        words, before = tuple(command[2:]), run / last
    ended = invoke(*words)
    assert ended.exit_code == 0, ended.output
    check_made(last_run(place), ("codegen", "measure"), whole)


@pytest.mark.cross
def test_a_failed_run_goes_on_from_what_it_kept_until_there_is_firmware(whole: Path, place: Path) -> None:
    failed = shutil.copytree(whole / "quantize", place / "kept.failed" / "quantize")
    done = invoke("r.toml", "-t", "cortex-m4", "--from", str(failed), "--until", "codegen")
    assert done.exit_code == 0, done.output
    run = last_run(place)
    assert binary(run) == binary(whole)
    assert "Layers of the int8 model" in (run / "report.html").read_text()
    report = json.loads((run / "report.json").read_text())
    check(report, "report")
    assert report["measurement"] is None


def test_stages_before_the_device_need_none_of_its_tools(whole: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    done = invoke("r.toml", "-t", "cortex-m4", "--from", str(whole / "prune-2"), "--until", "distill")
    assert done.exit_code == 0, done.output
    assert [s["name"] for s in json.loads((last_run(place) / "report.json").read_text())["stages"]] == ["distill"]


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.unmeasured
def test_from_the_int8_model_to_a_computer_and_from_its_package(whole: Path, place: Path) -> None:
    both = ("-t", "raspberry-pi-4", "-t", "cortex-m4")
    quick = ("--set", "measure={vectors=8, seconds=0.1}")
    made = invoke("r.toml", *both, *quick, "--from", str(whole / "quantize"))
    assert made.exit_code == 0, made.output
    first = last_run(place)
    assert binary(first / "cortex-m4") == binary(whole)
    built = invoke("r.toml", *both, *quick, "--from", str(whole / "quantize"), "--until", "codegen")
    assert built.exit_code == 0, built.output
    packages = last_run(place)
    said = [line for line in built.output.splitlines() if line.startswith("go on with")]
    assert [shlex.split(line)[6:8] for line in said] == [["--target", name] for name in both[1::2]]
    for line in said:
        name = shlex.split(line)[7]
        again = invoke(*shlex.split(line)[5:])
        assert again.exit_code == 0, again.output
        files = [run / "firmware" / "manifest.json" for run in (last_run(place), first / name)]
        assert [json.loads(f.read_text())["model"] for f in files[:1]] == [json.loads(files[1].read_text())["model"]]
    # From Python, a folder may be text.
    package = str(packages / "raspberry-pi-4" / "codegen")
    report = pipeline.run_recipe("r.toml", "raspberry-pi-4", settings=["measure.seconds=0.1"], start=package)
    assert [s.name for s in report.stages] == ["measure"]


REFUSED = {
    "unknown last stage": (["--until", "quantise"], "--until quantise: the recipe has no stage 'quantise'. Did you"),
    "no artifact": (["--from", "."], ". holds no saved artifact: it has no artifact.json. Give a folder"),
    "nothing left": (["--from", "{whole}/quantize", "--until", "prune"], "made by 'quantize', and up to --until prune"),
    "stage left out": (
        ["--from", "{whole}/prune-2", "--set", "stages=['train', 'prune', 'quantize', 'codegen', 'measure']",
         "--set", "distill=false"],
        "made by 'prune-2': the recipe has no stage 'prune-2'. Did you mean 'prune'? It has: train, prune, quantize",
    ),
    "other data": (["--from", "{whole}/prune", "--set", "data.limit=200"], "does not fit the recipe's data: it was made"),
    "other splits": (["--from", "{whole}/quantize", "--set", "data.validation=0.3"], "splits (which the seed draws)"),
    "other model": (
        ["--from", "{whole}/prune", "--set", "model.factory=resnet8"],
        """it was made with model.factory = "digits_cnn", and the recipe says "resnet8". Give""",
    ),
    "other settings": (
        ["--from", "{whole}/distill", "--set", "prune.keep=0.5"],
        "it was made with prune.keep = 0.8, and the recipe says 0.5. Give --set prune.keep=0.8, or start from train.",
    ),
    "other target": (["--from", "{whole}/codegen", "-t", "raspberry-pi-4"], "is a package for cortex-m4, and the run is"),
    "edited target": (
        ["--from", "{whole}/codegen", "--targets-dir", "slower"],
        "its package was made for cortex-m4 with cpu.clock_hz = 120000000; its file says 48000000 now. Start from quantize",
    ),
}  # fmt: skip


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_work(case: str, whole: Path, place: Path) -> None:
    words, message = REFUSED[case]
    before = sorted((place / "build").iterdir())
    done = invoke("r.toml", "-t", "cortex-m4", *(word.format(whole=whole) for word in words))
    assert (done.exit_code, message in " ".join(done.stderr.split())) == (2, True), done.stderr
    assert sorted((place / "build").iterdir()) == before
