"""Data sets: splits, shapes, and what is said about files that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.bundled import stratified
from pipeline.data.dataset import DataRecipe, load
from pipeline.errors import RecipeError
from pipeline.ir import Quant
from pipeline.preprocess import Normalization

RNG = np.random.default_rng(0)


def arrays(n: int = 40, shape: tuple[int, ...] = (4, 5, 3), dtype: Any = np.uint8, classes: int = 4) -> dict[str, Any]:
    x = RNG.integers(0, 200, (n + 10, *shape)).astype(dtype)
    y = np.arange(n + 10) % classes
    return {"x_train": x[:n], "y_train": y[:n], "x_test": x[n:], "y_test": y[n:]}


def written(folder: Path, **changes: Any) -> str:
    content = {k: v for k, v in {**arrays(), **changes}.items() if v is not None}
    np.savez(folder / "data.npz", **content)
    return str(folder / "data.npz")


def test_digits_are_split_by_class_and_tested_alike_for_every_seed() -> None:
    first, second = load(DataRecipe(), 0), load(DataRecipe(), 1)
    assert len(first.y_train) + len(first.y_val) + len(first.y_test) == 1797
    assert len(first.y_test) >= 300
    assert first.x_train.dtype == np.uint8
    assert first.x_train.shape[1:] == (8, 8, 1)
    assert first.input_shape == (1, 8, 8)
    assert first.classes == tuple("0123456789")
    assert np.array_equal(first.x_test, second.x_test)
    assert not np.array_equal(first.y_val, second.y_val)
    assert first.sha256 != second.sha256
    assert first.sha256 == load(DataRecipe(), 0).sha256
    for y in (first.y_train, first.y_val, first.y_test):
        share = np.bincount(y, minlength=10) / len(y)
        assert share.min() > 0.08
        assert share.max() < 0.12


def test_digits_fold_into_the_input_scale() -> None:
    normalization = load(DataRecipe(), 0).normalization
    assert normalization == Normalization((8.0,), (8.0,))
    assert normalization.input_quant("uint8") == Quant((1 / 8,), -120)


def test_no_image_is_in_two_splits() -> None:
    y = RNG.integers(0, 5, 300)
    rest, chosen = stratified(y, 0.3, 7)
    assert sorted([*rest, *chosen]) == list(range(300))
    assert set(y[chosen]) == set(range(5))


def test_a_class_of_two_is_in_both_parts() -> None:
    rest, chosen = stratified(np.array([0, 0, 1, 1, 1, 1]), 0.01, 0)
    assert len(chosen) == 2
    assert len(rest) == 4


@pytest.mark.parametrize(
    ("shape", "dtype", "wanted"),
    [
        ((6,), np.float64, (1, 1, 6)),
        ((4, 5), np.uint8, (4, 5, 1)),
        ((4, 5, 3), np.int8, (4, 5, 3)),
        ((4, 5), np.int64, (4, 5, 1)),
    ],
)
def test_npz_becomes_nhwc(tmp_path: Path, shape: tuple[int, ...], dtype: Any, wanted: tuple[int, ...]) -> None:
    data = load(DataRecipe(written(tmp_path, **arrays(shape=shape, dtype=dtype))), 0)
    assert data.x_train.shape[1:] == data.x_test.shape[1:] == wanted
    assert data.raw_dtype == (str(np.dtype(dtype)) if dtype in (np.uint8, np.int8) else "float32")
    assert (data.name, data.source) == ("data", "data.npz")
    assert data.profile()["shape"] == "x".join(map(str, wanted))


def test_a_relative_source_starts_at_the_recipes_folder(tmp_path: Path) -> None:
    written(tmp_path)
    assert len(load(DataRecipe("data.npz"), 0, tmp_path).y_test) == 10


@pytest.mark.parametrize(("dtype", "std"), [(np.uint8, 255.0), (np.int8, 128.0), (np.float32, 1.0)])
def test_default_normalisation_is_by_dtype(tmp_path: Path, dtype: Any, std: float) -> None:
    data = load(DataRecipe(written(tmp_path, **arrays(dtype=dtype))), 0)
    assert data.normalization == Normalization((0.0,), (std,))


def test_classes_come_from_recipe_file_or_labels(tmp_path: Path) -> None:
    source = written(tmp_path, classes=np.array(["a", "b", "c", "d"]))
    assert load(DataRecipe(source), 0).classes == ("a", "b", "c", "d")
    assert load(DataRecipe(source, classes=("w", "x", "y", "z")), 0).classes == ("w", "x", "y", "z")
    assert load(DataRecipe(written(tmp_path)), 0).classes == ("0", "1", "2", "3")


def test_labels_in_a_column_are_taken(tmp_path: Path) -> None:
    y = arrays()["y_train"]
    assert load(DataRecipe(written(tmp_path, y_train=y[:, None])), 0).y_train.ndim == 1


def test_limit_caps_the_development_images_of_every_class(tmp_path: Path) -> None:
    data = load(DataRecipe(written(tmp_path, **arrays(n=400)), limit=100), 0)
    assert len(data.y_train) + len(data.y_val) == 100
    assert set(np.bincount(data.y_train)) == {20}
    assert len(data.y_test) == 10


def test_sha256_changes_with_all_that_changes_results(tmp_path: Path) -> None:
    source = written(tmp_path)
    recipes = [
        DataRecipe(source),
        DataRecipe(source, std=(2.0,)),
        DataRecipe(source, shift=1),
        DataRecipe(source, flip=True),
        DataRecipe(source, classes=("a", "b", "c", "d")),
        DataRecipe(source, validation=0.5),
    ]
    assert len({load(r, 0).sha256 for r in recipes}) == len(recipes)


NAN = np.where(np.arange(40 * 60).reshape(40, 4, 5, 3) == 130, np.nan, 1.0)
BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "missing array": (
        {"y_test": None},
        {},
        "data.npz has no array 'y_test'; it has x_train, y_train, x_test. Give the path of an .npz file with x_train, "
        "y_train, x_test, y_test, as numpy.savez writes it.",
    ),
    "five dimensions": (
        {"x_train": np.zeros((40, 1, 1, 1, 1), np.uint8)},
        {},
        "x_train is uint8(40, 1, 1, 1, 1); it must hold numbers of shape (n, features), (n, H, W) or (n, H, W, C).",
    ),
    "empty": (
        {"x_train": np.zeros((0, 4, 5, 3))},
        {},
        "x_train is empty: its shape is (0, 4, 5, 3). It must hold one image or more.",
    ),
    "text": ({"x_train": np.full((40, 2), "a")}, {}, "x_train is <U1(40, 2); it must hold numbers of shape"),
    "other test shape": (
        {"x_test": np.zeros((10, 5, 5, 3), np.uint8)},
        {},
        "x_train holds uint8 images of 4x5x3 but x_test uint8 of 5x5x3; both need the same dtype and shape.",
    ),
    "other test dtype": (
        {"x_test": np.zeros((10, 4, 5, 3), np.float32)},
        {},
        "x_train holds uint8 images of 4x5x3 but x_test float32 of 4x5x3; both need the same dtype and shape.",
    ),
    "wide integers": (
        {"x_train": np.zeros((40, 4, 5, 3), np.uint16)},
        {},
        "x_train holds uint16 images of 4x5x3 but x_test uint8 of 4x5x3; both need the same dtype and shape.",
    ),
    "too few labels": (
        {"y_train": np.zeros(39, np.int64)},
        {},
        "y_train is int64(39,); it must hold 40 whole-number class indexes, one an image.",
    ),
    "labels in float": ({"y_train": np.zeros(40)}, {}, "y_train is float64(40,); it must hold 40 whole-number class"),
    "negative label": (
        {"y_train": np.arange(40) % 4 - 1},
        {},
        "y_train holds the label -1 (example 0). Labels are class indexes: 0 for the first class, 1 for the second, at most "
        "9,999. numpy.unique(labels, return_inverse=True)[1] makes them of any labels.",
    ),
    "label of an absurd class": (
        {"y_test": np.array([0, 1, 2, 300_000_000] + [0] * 6)},
        {},
        "y_test holds the label 300,000,000 (example 3), which would make 300,000,001 classes. Labels are class indexes: 0",
    ),
    "label beyond int64": (
        {"y_train": np.full(40, 2**64 - 1, np.uint64)},
        {},
        "y_train holds the label 18,446,744,073,709,551,615 (example 0), which would make",
    ),
    "label out of range": (
        {"classes": np.array(["cat", "dog"])},
        {},
        "label 3 is out of range, there are 2 classes (0 to 1): cat, dog.",
    ),
    "classes disagree": (
        {"classes": np.array(["a", "b", "c", "d"])},
        {"classes": ("a", "b", "c")},
        "data.classes names 3 classes but the file 4; make them agree.",
    ),
    "one class": (
        {"y_train": np.zeros(40, np.int64), "y_test": np.zeros(10, np.int64)},
        {},
        "there is only one class, '0'; a classifier needs two or more.",
    ),
    "a class twice": (
        {"classes": np.array(["b", "a", "a", "c"])},
        {},
        "more than one class is called 'a'; each needs a name of its own.",
    ),
    "class names of control codes": (
        {"classes": np.array(["a", "b", "\x1b[31mred", "c"])},
        {},
        r"the class name '\x1b[31mred' must be 1 to 100 printable characters.",
    ),
    "a nameless class": ({}, {"classes": ("a", "", "c", "d")}, "the class name '' must be 1 to 100 printable characters."),
    "classes as fractions": (
        {"classes": np.zeros(4)},
        {},
        "classes is float64(4,); it must hold a name for each class, 10,000 at most.",
    ),
    "too many classes": (
        {"classes": np.arange(10_001)},
        {},
        "classes is int64(10001,); it must hold a name for each class, 10,000 at most.",
    ),
    "NaN": (
        {"x_train": NAN, "x_test": np.ones((10, 4, 5, 3))},
        {},
        "x_train holds NaN, infinity or a value beyond float32 (3.4e38), first in example 2; remove or mend it.",
    ),
    "beyond float32": (
        {"x_train": np.full((40, 3), 1.0), "x_test": np.array([[1.0, 2.0, 1e300]] * 10)},
        {},
        "x_test holds NaN, infinity or a value beyond float32 (3.4e38), first in example 0; remove or mend it.",
    ),
    "near float32's end": (
        {"x_train": np.full((40, 3), 1.0), "x_test": np.array([[1.0, -3e38, 2.0]] * 10)},
        {},
        "x_test holds values that normalise to -3e+38, (raw - data.mean) / data.std: a network overflows on them. Choose",
    ),
    "normalised out of float32": ({}, {"mean": (1e39,)}, "x_train holds values that normalise to -inf, (raw - data.mean)"),
    "std per channel": ({}, {"std": (1.0, 2.0)}, "data.std has 2 values but the images 3 channels; give 1 or that many."),
    "mean per channel": ({}, {"mean": (1.0,) * 4}, "data.mean has 4 values but the images 3 channels; give 1 or"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_refused(tmp_path: Path, case: str) -> None:
    changes, settings, message = BAD[case]
    with pytest.raises(RecipeError) as e:
        load(DataRecipe(written(tmp_path, **changes), **settings), 0)
    assert message in str(e.value)
    assert "data.npz" in str(e.value) or message.startswith("data.")


def test_two_images_of_two_classes_leave_none_to_validate(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="2 images leave none for training or validation; give more data"):
        load(DataRecipe(written(tmp_path, x_train=np.zeros((2, 4, 5, 3), np.uint8), y_train=np.array([0, 1]))), 0)


def test_unknown_source() -> None:
    with pytest.raises(RecipeError) as e:
        load(DataRecipe("mnist"), 0)
    assert str(e.value) == (
        'data.source = \'mnist\' is not known. Use "digits", "diabetes", the path of an .npz file, or your own function as '
        '"package.module:function".'
    )


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as e:
        load(DataRecipe("no.npz"), 0, tmp_path)
    assert str(e.value) == (
        f"{tmp_path / 'no.npz'} does not exist. Give the path of an .npz file with x_train, y_train, x_test, y_test, as "
        "numpy.savez writes it."
    )


def test_class_names_as_bytes_are_text(tmp_path: Path) -> None:
    source = written(tmp_path, classes=np.array([n.encode() for n in ("a", "b", "c", "é")]))
    assert load(DataRecipe(source), 0).classes == ("a", "b", "c", "é")


def test_wide_integers_are_taken_as_float32_and_reported_as_they_are(tmp_path: Path) -> None:
    data = load(DataRecipe(written(tmp_path, **arrays(dtype=np.uint16))), 0)
    assert data.raw_dtype == "float32"
    assert data.profile()["dtype"] == "uint16"
    assert load(DataRecipe(), 0).profile()["dtype"] == "uint8"


def test_large_float_values_within_reach_are_taken(tmp_path: Path) -> None:
    values = np.linspace(-1e14, 1e14, 120).reshape(40, 3)
    assert load(DataRecipe(written(tmp_path, x_train=values, x_test=values[:10])), 0).raw_dtype == "float32"
