"""A setting that the user wrote and that would do nothing is refused before any work; one that nobody wrote is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import target
from pipeline.cli import app
from pipeline.errors import RecipeError
from pipeline.recipe import Recipe, load
from pipeline.stage import check_stages

RECIPE = """
name = "small"
[data]
source = "digits"
[model]
factory = "digits_cnn"
[prune]
[distill]
"""
M4, PI = target.load("cortex-m4"), target.load("raspberry-pi-4")
PTQ = r'of no use with mode "ptq", which trains nothing\. Leave it out, or say mode = "qat"\.'
BOARD = r"of no use to cortex-m4: a microcontroller has one core and times `runs` inferences\. Leave it out\."
REFUSED = {
    "measure.threads=1": ([M4], rf"measure\.threads is {BOARD}"),  # the default's own value: nothing is done with it either
    "measure.affinity=[2]": ([M4], rf"measure\.affinity is {BOARD}"),
    "measure.seconds=3": ([M4], rf"measure\.seconds is {BOARD}"),
    "measure.runs=5": (
        [PI],
        r"measure\.runs is of no use to raspberry-pi-4: inferences are timed until .*measure\.seconds\.",
    ),
    "measure.counter=systick": ([PI], r"measure\.counter is of no use to raspberry-pi-4: only emulated boards count"),
    "quantize.epochs=5": ([M4, PI], rf"quantize\.epochs is {PTQ}"),
    "quantize.batch_size=8": ([M4], rf"quantize\.batch_size is {PTQ}"),
    "quantize.learning_rate=0.1": ([M4], rf"quantize\.learning_rate is {PTQ}"),
    "quantize={mode='qat', observer='histogram'}": ([M4], r'quantize\.observer is of no use with mode "qat", whose ranges'),
    "quantize={calibration='digits', count=9}": ([M4], r"quantize\.count is of no use with calibration = 'digits', which"),
    "quantize={calibration='digits', seed=9}": ([M4], r"quantize\.seed is of no use with calibration = 'digits', which"),
    "prune={epochs=0, learning_rate=0.1}": (
        [M4],
        r"prune\.learning_rate is of no use with epochs = 0, which trains nothing",
    ),
    "prune={epochs=0, criterion='magnitude', batch_size=9}": ([M4], r"prune\.batch_size is of no use with epochs = 0"),
    "distill={weight=0, temperature=2}": (
        [M4],
        r"distill\.temperature is of no use with weight = 0, which leaves the teacher",
    ),
    "codegen.optimize=size": ([PI], r"codegen\.optimize is of no use to raspberry-pi-4: its kernels are ONNX Runtime's"),
    "codegen.model_flash_bytes=9": ([PI], r"codegen\.model_flash_bytes is of no use to raspberry-pi-4: its kernels"),
    "codegen.model_ram_bytes=9": ([PI], r"codegen\.model_ram_bytes is of no use to raspberry-pi-4: its kernels"),
    "codegen.tflm_dir=x": ([PI], r"codegen\.tflm_dir is of no use to raspberry-pi-4: TFLM is for microcontrollers"),
}
TAKEN = {
    "measure={threads=2, affinity=[1], seconds=3}": [PI],
    "measure={runs=3, counter='systick'}": [M4],
    "measure={threads=2, runs=3, counter='systick'}": [M4, PI],
    "quantize={mode='qat', epochs=1, batch_size=8, learning_rate=0.1}": [M4],
    "quantize={count=9, seed=9, observer='histogram'}": [M4],
    "quantize.calibration=digits": [M4],
    "codegen={optimize='size', model_flash_bytes=9, model_ram_bytes=9}": [M4, PI],
    "prune={epochs=0, criterion='taylor', batch_size=9}": [M4],
    "prune={epochs=1, criterion='random', batch_size=9, learning_rate=0.1}": [M4],
    "distill={weight=0.1, temperature=2}": [M4],
    "seed=3": [M4, PI],
}


def recipe(folder: Path, setting: str) -> Recipe:
    path = folder / "r.toml"
    path.write_text(RECIPE)
    return load(path, [setting])


@pytest.mark.parametrize("setting", REFUSED)
def test_what_does_nothing_is_refused(setting: str, tmp_path: Path) -> None:
    targets, message = REFUSED[setting]
    with pytest.raises(RecipeError, match=message):
        check_stages(recipe(tmp_path, setting), None, targets)


@pytest.mark.parametrize("setting", TAKEN)
def test_what_does_something_for_one_target_is_taken(setting: str, tmp_path: Path) -> None:
    check_stages(recipe(tmp_path, setting), None, TAKEN[setting])


@pytest.mark.parametrize("setting", TAKEN)
def test_the_resolved_recipe_is_not_refused(setting: str, tmp_path: Path) -> None:
    """It holds every setting that does something, with its value, and can be run again."""
    first = recipe(tmp_path, setting)
    (tmp_path / "again.toml").write_text(first.toml(TAKEN[setting]))
    again = load(tmp_path / "again.toml")
    check_stages(again, None, TAKEN[setting])
    assert again.stages == first.stages
    assert "epochs" in again.given["train"], "nobody wrote it, and it does something"


def test_a_refused_setting_ends_with_2_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(RECIPE + "[measure]\nthreads = 2\n")
    done = CliRunner().invoke(app, ["run", "r.toml", "-t", "cortex-m4"], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "Error: measure.threads is of no use to cortex-m4: a microcontroller has one core" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.toml"]
