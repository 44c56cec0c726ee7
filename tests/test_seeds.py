"""scripts/seeds.py, and what it shows of the digits recipe: distillation gains, int8 costs nothing that counts."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean

import pytest
from load_script import script

from pipeline import recipe
from pipeline.report.figures import MEASURES
from pipeline.run import load_source
from pipeline.stages.prune import Prune
from pipeline.tasks.task import Measure

SHORT = ("train.epochs=2", "prune.epochs=2", "distill.epochs=1")
TEST_IMAGES, HELD_OUT = 355, 285


seeds = script("seeds")


def test_scores_are_those_of_the_stages_up_to_int8() -> None:
    measure, found = seeds.scores(recipe.load(recipe.default_path(), SHORT))
    assert measure.name == "accuracy"
    assert list(found) == ["train", "prune", "distill", "quantize"]
    assert all(0.3 < value <= 1 for value in found.values())
    assert all(value * TEST_IMAGES == pytest.approx(round(value * TEST_IMAGES)) for value in found.values())


def test_a_row_a_seed_and_their_mean(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def scores(wanted: recipe.Recipe, on_held_out: bool) -> tuple[Measure, dict[str, float]]:
        assert not on_held_out
        keep = next(stage.keep for stage in wanted.stages if isinstance(stage, Prune))
        return MEASURES["accuracy"], {"train": wanted.seed / 10, "prune": keep}

    monkeypatch.setattr(seeds, "scores", scores)
    monkeypatch.setattr(sys, "argv", ["seeds.py", "--seeds", "3", "6", "--set", "prune.keep=0.3", "train.epochs=2"])
    assert seeds.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "accuracy on the test split after each stage:",
        "",
        "| seed | train | prune |",
        "| --- | --: | --: |",
        "| 3 | 30.00 % | 30.00 % |",
        "| 6 | 60.00 % | 30.00 % |",
        "| mean | 45.00 % | 30.00 % |",
    ]


def test_what_is_held_out_comes_from_outside_the_test_split() -> None:
    wanted = recipe.load(recipe.default_path(), ["seed=2"])
    whole, chosen = load_source(wanted, ()).data, seeds.held_out(wanted)
    parts = [chosen.x_train, chosen.x_val, chosen.x_test]
    assert [len(part) for part in parts] == [929, 228, 285]
    images = sorted(image.tobytes() for part in parts for image in part)
    assert images == sorted(image.tobytes() for part in (whole.x_train, whole.x_val) for image in part)
    other = seeds.held_out(recipe.load(recipe.default_path(), ["seed=3"]))
    assert other.x_test.tobytes() != chosen.x_test.tobytes()


def test_settings_are_scored_on_what_is_held_out() -> None:
    no_more = ("train.epochs=1", "prune=false", "distill=false")
    _, found = seeds.scores(recipe.load(recipe.default_path(), no_more), on_held_out=True)
    assert list(found) == ["train", "quantize"]
    assert all(value * HELD_OUT == pytest.approx(round(value * HELD_OUT)) for value in found.values())


OWN_RECIPE = """
name = "own"
seed = 1
code = "lib"
stages = ["train", "prune", "seeds_own:Silent", "prune", "quantize", "codegen", "measure"]
[task]
kind = "regression"
unit = "mm"
[data]
source = "seeds_own:lengths"
[model]
factory = "seeds_own:network"
[train]
epochs = 2
loss = "seeds_own:error"
[prune]
keep = 0.7
epochs = 1
"""
OWN_CODE = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from pipeline.artifacts import FloatModel
from torch import nn

def lengths():
    x = np.random.default_rng(0).uniform(-1, 1, (120, 6)).astype(np.float32)
    y = x.sum(axis=1)
    return {"x_train": x[:100], "y_train": y[:100], "x_test": x[100:], "y_test": y[100:]}

def network(input_shape, outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs))

def error(outputs, labels):
    return (outputs - labels).abs().mean()

@dataclass(frozen=True)
class Silent:
    name: ClassVar[str] = "silent"
    consumes: ClassVar[type] = FloatModel
    produces: ClassVar[type] = FloatModel

    def run(self, artifact, ctx):
        return artifact
"""


@pytest.mark.parametrize("on_held_out", [False, True])
def test_any_task_code_of_ones_own_and_a_stage_that_comes_twice(on_held_out: bool, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "seeds_own.py").write_text(OWN_CODE)
    (tmp_path / "recipe.toml").write_text(OWN_RECIPE)
    measure, found = seeds.scores(recipe.load(tmp_path / "recipe.toml"), on_held_out)
    assert measure.name == "r2"
    assert list(found) == ["train", "prune", "prune-2", "quantize"]  # a stage without scores has no column
    assert all(value <= 1 for value in found.values())


def test_figures_are_shown_as_the_task_has_them() -> None:
    assert seeds.shown(MEASURES["accuracy"], 0.98765) == "98.77 %"
    assert seeds.shown(MEASURES["mae"], 12.34567) == "12.35"


def test_a_wrong_setting_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["seeds.py", "--set", "prune.kep=0.3"])
    assert seeds.main() == 2
    assert "prune.kep" in capsys.readouterr().err


@pytest.mark.slow
def test_over_five_seeds_the_digits_recipe_gains_by_distillation_and_loses_nothing_by_int8() -> None:
    found = [seeds.scores(recipe.load(recipe.default_path(), [f"seed={n}"]))[1] for n in range(1, 6)]
    pruned, distilled, int8 = (mean(f[stage] for f in found) for stage in ("prune", "distill", "quantize"))
    assert distilled >= pruned
    assert abs(distilled - int8) <= 0.005
