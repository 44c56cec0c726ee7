"""scripts/seeds.py, and what it shows of the digits recipe: distillation gains, int8 costs nothing that counts."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean
from types import ModuleType

import pytest

from pipeline import recipe
from pipeline.run import load_source
from pipeline.stages.prune import Prune

ROOT = Path(__file__).resolve().parents[1]
SHORT = ("train.epochs=2", "prune.epochs=2", "distill.epochs=1")
TEST_IMAGES, HELD_OUT = 355, 285


def script(name: str) -> ModuleType:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(ROOT / "scripts"))


seeds = script("seeds")


def test_accuracies_are_those_of_the_stages_up_to_int8() -> None:
    found = seeds.accuracies(recipe.load(recipe.default_path(), SHORT))
    assert list(found) == ["train", "prune", "distill", "quantize"]
    assert all(0.3 < value <= 1 for value in found.values())
    assert all(value * TEST_IMAGES == pytest.approx(round(value * TEST_IMAGES)) for value in found.values())


def test_a_row_a_seed_and_their_mean(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def accuracies(wanted: recipe.Recipe, on_held_out: bool) -> dict[str, float]:
        assert not on_held_out
        keep = next(stage.keep for stage in wanted.stages if isinstance(stage, Prune))
        return {"train": wanted.seed / 10, "prune": keep}

    monkeypatch.setattr(seeds, "accuracies", accuracies)
    monkeypatch.setattr(sys, "argv", ["seeds.py", "--seeds", "3", "6", "--set", "prune.keep=0.3", "train.epochs=2"])
    assert seeds.main() == 0
    assert capsys.readouterr().out.splitlines() == [
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
    found = seeds.accuracies(recipe.load(recipe.default_path(), no_more), on_held_out=True)
    assert list(found) == ["train", "quantize"]
    assert all(value * HELD_OUT == pytest.approx(round(value * HELD_OUT)) for value in found.values())


def test_a_wrong_setting_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["seeds.py", "--set", "prune.kep=0.3"])
    assert seeds.main() == 2
    assert "prune.kep" in capsys.readouterr().err


@pytest.mark.slow
def test_over_five_seeds_the_digits_recipe_gains_by_distillation_and_loses_nothing_by_int8() -> None:
    found = [seeds.accuracies(recipe.load(recipe.default_path(), [f"seed={n}"])) for n in range(1, 6)]
    pruned, distilled, int8 = (mean(f[stage] for f in found) for stage in ("prune", "distill", "quantize"))
    assert distilled >= pruned
    assert abs(distilled - int8) <= 0.005
