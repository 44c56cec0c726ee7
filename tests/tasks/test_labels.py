"""What each task takes for labels, and what it says of others: before any work."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.data.source import ModelRecipe
from pipeline.data.source import load as load_model
from pipeline.errors import RecipeError
from pipeline.recipe import load as load_recipe
from pipeline.tasks import measures, names, read_recipe
from pipeline.tasks.regression import Regression

N, TEST = 40, 10
X = {"x_train": np.arange(N * 4, dtype=np.float32).reshape(N, 4), "x_test": np.ones((TEST, 4), np.float32)}
CLASSES = {"y_train": np.arange(N) % 3, "y_test": np.arange(TEST) % 3}
NUMBERS = {"y_train": np.linspace(0, 9, N), "y_test": np.linspace(0, 9, TEST)}
SETS = {"y_train": np.arange(N * 2).reshape(N, 2) % 2, "y_test": np.arange(TEST * 2).reshape(TEST, 2) % 2}


def dataset(folder: Path, task: Mapping[str, Any], arrays: Mapping[str, Any], **recipe: Any) -> Dataset:
    np.savez(folder / "d.npz", **{**X, **arrays})
    return load(DataRecipe("d.npz", **recipe), 0, folder, read_recipe(task, "r.toml: task"))


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "floats as classes": ({}, NUMBERS, 'one an image. For numbers to be predicted say [task] kind = "regression".'),
    "sets as classes": ({}, SETS, 'one an image. For several labels at once say [task] form = "multi_label".'),
    "three classes of one logit": (
        {"form": "one_logit"}, CLASSES, 'there are 3 classes, but task.form = "one_logit" tells two apart. Say ',
    ),
    "classes as sets": ({"form": "multi_label"}, CLASSES, "it must hold 40 rows, one an image, of a 0 or 1 for each label."),
    "sets of other numbers": (
        {"form": "multi_label"}, {**SETS, "y_test": SETS["y_test"] + 1}, "y_test holds other values than 0 and 1",
    ),
    "sets of two sizes": (
        {"form": "multi_label"}, {**SETS, "y_test": np.zeros((TEST, 3), int)}, "y_train has 2 labels but y_test 3.",
    ),
    "words as numbers": (
        {"kind": "regression"}, {**NUMBERS, "y_train": np.array(["a"] * N)}, '"regression" it must hold 40 numbers',
    ),
    "no number": ({"kind": "regression"}, {**NUMBERS, "y_test": np.full(TEST, np.nan)}, "y_test holds NaN, infinity"),
    "the same numbers": ({"kind": "regression"}, {**NUMBERS, "y_train": np.ones(N)}, "all the same in the training split"),
    "names of other outputs": ({"kind": "regression", "names": ["a", "b"]}, NUMBERS, "names 2 outputs but labels have 1."),
    "a mean for others": ({"kind": "regression", "mean": [1, 2]}, NUMBERS, "mean has 2 values but labels have 1 numbers"),
    "one split has more": (
        {"kind": "regression"}, {**NUMBERS, "y_test": np.zeros((TEST, 2))}, "has 1 numbers for each example but y_test 2.",
    ),
    "no labels": ({"kind": "regression"}, {}, "d.npz has no array 'y_train'"),
    "classes of an autoencoder": ({"kind": "reconstruction"}, CLASSES, 'that are anomalies: task.anomalous = ["..."]'),
    "marks that are none": (
        {"kind": "reconstruction"}, {"y_test": np.full(TEST, 2)}, "must hold 10 marks, 1 for an anomaly and 0 for",
    ),
    "an unknown anomaly": (
        {"kind": "reconstruction", "anomalous": ["7"]}, CLASSES, "the data has no class '7'. It has: 0, 1, 2.",
    ),
    "anomalies only": ({"kind": "reconstruction", "anomalous": ["0", "1", "2"]}, CLASSES, "none is left to learn from."),
    "anomalies without labels": ({"kind": "reconstruction", "anomalous": ["0"]}, {}, "there is no y_train or no y_test."),
    "two anomalies of one name": (
        {"kind": "reconstruction", "anomalous": ["b"]}, {**CLASSES, "classes": np.array(["a", "b", "b"])},
        "more than one class is called 'b'; each needs a name of its own.",
    ),
    "an anomaly without a name": (
        {"kind": "reconstruction", "anomalous": ["b"]}, {**CLASSES, "classes": np.array(["a", "b"])},
        "label 2 is out of range, there are 2 classes (0 to 1): a, b.",
    ),
    "another task": ({"kind": "regresion"}, CLASSES, "task.kind = 'regresion' is not known. Did you mean 'regression'?"),
    "another task's key": ({"form": "classes", "unit": "m"}, CLASSES, "r.toml: task.unit: unknown key."),
    "a long unit": ({"kind": "regression", "unit": "m" * 30}, NUMBERS, "must be at most 20 printable characters."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_labels_of_another_task_are_refused(case: str, tmp_path: Path) -> None:
    task, arrays, message = REFUSED[case]
    with pytest.raises(RecipeError) as e:
        dataset(tmp_path, task, arrays)
    assert message in str(e.value)


def test_numbers_are_kept_in_their_units_and_standardised_by_the_training_examples(tmp_path: Path) -> None:
    two = {k: np.stack([v, 10 * v + 3], axis=1) for k, v in NUMBERS.items()}
    data = dataset(tmp_path, {"kind": "regression", "names": ["a", "b"], "unit": "K"}, two)
    assert isinstance(data.task, Regression)
    assert data.task.mean == pytest.approx(tuple(data.y_train.mean(axis=0)))
    assert data.task.std == pytest.approx(tuple(data.y_train.std(axis=0)))
    fewer = dataset(tmp_path, {"kind": "regression"}, NUMBERS, limit=20)
    assert isinstance(fewer.task, Regression)
    assert fewer.task.mean == pytest.approx((fewer.y_train.mean(),)), "neither validation nor what the limit leaves out"
    assert (data.task.names, data.task.unit, data.classes) == (("a", "b"), "K", ())
    np.testing.assert_allclose(data.y_test, two["y_test"], rtol=1e-6)
    assert (len(data.y_train), len(data.y_val)) == (32, 8)
    own = dataset(tmp_path, {"kind": "regression", "mean": 0, "std": 1}, two).task
    assert own == Regression((0.0, 0.0), (1.0, 1.0), ("0", "1"))


def test_a_training_split_of_one_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"y_train: .* output '0' are all the same in the training split"):
        dataset(tmp_path, {"kind": "regression"}, {**NUMBERS, "y_train": (np.arange(N) == 7) * 1.0}, validation=0.9)


def test_an_autoencoder_needs_no_labels(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"kind": "reconstruction"}, {})
    assert len(data.y_train) + len(data.y_val) == N
    assert not data.y_test.any()
    assert dataset(tmp_path, {"kind": "reconstruction"}, {"y_test": np.arange(TEST) == 3}).y_test.tolist().index(1) == 3


def test_anomalous_classes_are_left_out_of_training(tmp_path: Path) -> None:
    named = {**CLASSES, "classes": np.array(["a", "b", "c"])}
    data = dataset(tmp_path, {"kind": "reconstruction", "anomalous": ["b"]}, named)
    assert len(data.y_train) + len(data.y_val) == (CLASSES["y_train"] != 1).sum()
    rows = np.concatenate([data.x_train, data.x_val]).reshape(-1, 4)[:, 0] / 4
    assert not (rows.astype(int) % 3 == 1).any()
    assert np.array_equal(data.y_test, CLASSES["y_test"] == 1)


@pytest.mark.parametrize("task", [{}, {"kind": "reconstruction", "anomalous": ["b"]}], ids=["classes", "anomalies"])
def test_names_in_another_order_than_the_files_are_refused(task: Mapping[str, Any], tmp_path: Path) -> None:
    named = {**CLASSES, "classes": np.array(["a", "b", "c"])}
    with pytest.raises(RecipeError) as e:
        dataset(tmp_path, task, named, classes=("a", "c", "b"))
    assert str(e.value) == (
        "data source 'd.npz': data.classes has the file's names in another order: class 1 is 'c' in the one, 'b' in the "
        "other. Leave data.classes out."
    )
    assert dataset(tmp_path, {}, named, classes=("x", "y", "z")).classes == ("x", "y", "z")


MODELS = {
    "one logit unsaid": (
        {}, {k: v % 2 for k, v in CLASSES.items()}, {"outputs": 1},
        "the data's 2 classes need logits of shape (2, 2). For one logit say task.form = \"one_logit\".",
    ),
    "two logits for one": (
        {"form": "one_logit"}, {k: v % 2 for k, v in CLASSES.items()}, {"outputs": 2}, "needs logits of shape (2, 1).",
    ),
    "numbers": ({"kind": "regression"}, NUMBERS, {"outputs": 3}, "the labels' 1 numbers need outputs of shape (2, 1)."),
    "an input": ({"kind": "reconstruction"}, {}, {"outputs": 3}, "its input again is of shape (2, 4) or (2, 4, 1, 1)."),
}  # fmt: skip


@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_gives_something_else_is_refused(case: str, tmp_path: Path) -> None:
    task, arrays, arguments, message = MODELS[case]
    (tmp_path / "odd_model.py").write_text(
        "from torch import nn\n"
        "def build(shape, count, outputs):\n    return nn.Sequential(nn.Flatten(), nn.Linear(4, outputs))\n"
    )
    data = dataset(tmp_path, task, arrays, mean=(80.0,), std=(50.0,))
    with pytest.raises(RecipeError) as e:
        load_model(ModelRecipe("odd_model:build", arguments=arguments), data, 0, tmp_path)
    assert message in str(e.value)


SIGMOIDS = {
    "layer": "nn.Flatten(), nn.Linear(4, count), nn.Sigmoid()",
    "hard": "nn.Flatten(), nn.Linear(4, count), nn.Hardsigmoid()",
    "moved": "nn.Flatten(), nn.Linear(4, count), nn.Sigmoid(), nn.Unflatten(1, (count, 1)), nn.Flatten()",
}


def fitted(folder: Path, form: str, layers: str, checkpoint: bool = False) -> None:
    labels = {"one_logit": {k: v % 2 for k, v in CLASSES.items()}, "multi_label": SETS, "classes": CLASSES}[form]
    name = f"model_{hashlib.sha256(layers.encode()).hexdigest()[:8]}"
    (folder / f"{name}.py").write_text(
        f"from torch import nn\ndef build(shape, count):\n    return nn.Sequential({layers})\n"
    )
    data = dataset(folder, {"form": form}, labels, mean=(80.0,), std=(50.0,))
    outputs = data.task.outputs(data.input_shape)
    np.savez(folder / "w.npz", **{"1.weight": np.ones((outputs, 4), np.float32), "1.bias": np.zeros(outputs, np.float32)})
    load_model(ModelRecipe(f"{name}:build", checkpoint=Path("w.npz") if checkpoint else None), data, 0, folder)


@pytest.mark.parametrize("checkpoint", [False, True], ids=["untrained", "checkpoint"])
@pytest.mark.parametrize("form", ["one_logit", "multi_label"])
@pytest.mark.parametrize("end", SIGMOIDS)
def test_a_sigmoid_at_the_end_is_refused_where_the_sign_is_the_answer(
    end: str, form: str, checkpoint: bool, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"ends in a sigmoid, which is never below 0.* Leave the sigmoid out\.$"):
        fitted(tmp_path, form, SIGMOIDS[end], checkpoint)
    fitted(tmp_path, form, "nn.Flatten(), nn.Linear(4, count)", checkpoint)
    fitted(tmp_path, "classes", SIGMOIDS[end], checkpoint)


def test_logits_between_0_and_1_are_no_sigmoids(tmp_path: Path) -> None:
    fitted(tmp_path, "one_logit", "nn.Sequential(nn.Flatten(), nn.AvgPool1d(4), nn.Sigmoid()), nn.Linear(1, count)")


RECIPE = 'name = "r"\n[task]\n{task}\n[data]\nsource = "diabetes"\n[model]\nfactory = "mlp"\n'
UNUSED = {
    "train.label_smoothing=0.1": ('kind = "regression"', 'under task.kind = "regression", whose labels are numbers.'),
    "distill.temperature=2": ('kind = "reconstruction"', '"reconstruction", which has no labels to learn.'),
    'data.classes=["a"]': ('kind = "regression"', "task.names are what its outputs are called."),
}  # fmt: skip


@pytest.mark.parametrize("setting", UNUSED)
def test_a_setting_of_another_task_is_refused(setting: str, tmp_path: Path) -> None:
    task, why = UNUSED[setting]
    (tmp_path / "r.toml").write_text(RECIPE.format(task=task))
    with pytest.raises(RecipeError, match=f"{setting.split('=')[0]} is of no use ") as e:
        load_recipe(tmp_path / "r.toml", [setting])
    assert why in str(e.value)


@pytest.mark.parametrize(
    "task", ['kind = "regression"\nnames = ["a"]\nunit = "m"', 'kind = "reconstruction"', "", 'form = "one_logit"']
)
def test_the_resolved_recipe_says_the_same(task: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE.format(task=task))
    first = load_recipe(tmp_path / "r.toml")
    (tmp_path / "again.toml").write_text(first.toml(()))
    again = load_recipe(tmp_path / "again.toml")
    assert (again.task, again.stages, again.sha256()) == (first.task, first.stages, first.sha256())
    assert ("label_smoothing" in first.toml(())) == (first.task.kind == "classification")


def test_the_task_is_part_of_a_recipes_identity(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE.format(task=""))
    assert load_recipe(tmp_path / "r.toml").sha256() != load_recipe(tmp_path / "r.toml", ["task.form=one_logit"]).sha256()


def test_each_figure_has_one_meaning() -> None:
    assert names() == ("classification", "reconstruction", "regression")
    assert next(iter(measures())) == "accuracy", "the first row of every table"
    assert len(measures()) == 9
