"""Calibration sets: the same images everywhere, the same number of each class, and what is said when they do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.calibration import CalibrationSet, find, select
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.errors import RecipeError


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load(DataRecipe(), 0)


def of_class(data: Dataset, images: np.ndarray) -> list[int]:
    known = {x.tobytes(): int(y) for x, y in zip(data.x_train, data.y_train, strict=True)}
    known.update({x.tobytes(): int(y) for x, y in zip(data.x_val, data.y_val, strict=True)})
    return [known[x.tobytes()] for x in images]


def test_the_shipped_set_is_what_it_says_for_any_seed(digits: Dataset) -> None:
    described = find("digits")
    assert described.sha256
    for data in (digits, load(DataRecipe(), 5), load(DataRecipe(validation=0.5), 2)):
        assert select(described, data, "digits").sha256 == described.sha256


def test_every_class_has_its_share(digits: Dataset) -> None:
    images = select(CalibrationSet("digits", count=53), digits).images
    assert sorted(np.bincount(of_class(digits, images), minlength=10)) == [5] * 7 + [6] * 3


def test_unbalanced_takes_the_first_by_hash(digits: Dataset) -> None:
    images = select(CalibrationSet("digits", count=50, balanced=False), digits).images
    assert len(images) == 50
    assert len(set(np.bincount(of_class(digits, images), minlength=10))) > 1


def test_validation_split_and_seed_choose_other_images(digits: Dataset) -> None:
    base = CalibrationSet("digits", count=50)
    found = {select(s, digits).sha256 for s in (base, replace(base, seed=1), replace(base, split="validation"))}
    assert len(found) == 3
    validation = {x.tobytes() for x in digits.x_val}
    assert all(x.tobytes() in validation for x in select(replace(base, split="validation"), digits).images)


def test_test_images_are_never_chosen(digits: Dataset) -> None:
    everything = select(CalibrationSet("digits", count=100_000), digits).images
    assert len(everything) == len(digits.y_train) + len(digits.y_val)


def test_an_empty_class_is_named(digits: Dataset) -> None:
    without = digits.y_val != 3
    data = replace(digits, x_val=digits.x_val[without], y_val=digits.y_val[without])
    with pytest.raises(RecipeError) as e:
        select(CalibrationSet("digits", split="validation"), data, "mine")
    assert str(e.value) == (
        "calibration set 'mine' has no image of class '3': the validation split holds none. Its ranges would be guesses. "
        "Add such images, or remove the class from data.classes."
    )


def test_a_seed_beyond_64_bits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "mine.toml").write_text(f'source = "digits"\nseed = {2**64}\n')
    with pytest.raises(RecipeError, match=r"mine\.toml.*seed = 18446744073709551616 is out of range"):
        find("mine")


def test_another_data_set_is_refused(digits: Dataset) -> None:
    with pytest.raises(RecipeError) as e:
        select(CalibrationSet("cifar10.npz"), digits, "cifar10")
    assert str(e.value) == (
        "calibration set 'cifar10' is for 'cifar10.npz', but the recipe's data is 'digits'; name another set."
    )


def test_other_bytes_are_refused_with_their_hash(digits: Dataset) -> None:
    chosen = select(CalibrationSet("digits"), digits)
    with pytest.raises(RecipeError, match=f"the chosen images' sha256 is {chosen.sha256}, the file says 0123"):
        select(CalibrationSet("digits", sha256="0123"), digits)


def test_unknown_set_and_unknown_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match=r"quantize.calibration = 'digit' is not known. Did you mean 'digits'\?"):
        find("digit")
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "mine.toml").write_text('source = "digits"\ncuont = 3\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"mine.toml.cuont: unknown key. Did you mean 'count'\?"):
        find("mine")


def test_a_set_in_the_current_folder_goes_before_a_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "digits.toml").write_text('source = "digits"\ncount = 7\n')
    monkeypatch.chdir(tmp_path)
    assert find("digits").count == 7
