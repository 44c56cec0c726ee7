"""Losses and scores of every task, against scikit-learn's and against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics

from pipeline.ir import Quant, Tensor
from pipeline.tasks import read_task
from pipeline.tasks.classification import Classification
from pipeline.tasks.reconstruction import Reconstruction, area_under_curve
from pipeline.tasks.regression import Regression
from pipeline.tasks.task import Examples, Task, headline, real, selection_key, stored

RNG = np.random.default_rng(0)
ABC = ("a", "b", "c")
TASKS: tuple[Task, ...] = (
    Classification(ABC), Classification(("no", "yes"), "one_logit"), Classification(ABC, "multi_label"),
    Regression((2.0, 3.0), (0.5, 4.0), ("x", "y"), "cm"), Reconstruction(),
)  # fmt: skip
IDS = [f"{t.kind}-{getattr(t, 'form', '')}" for t in TASKS]


def test_one_logit_says_yes_above_zero() -> None:
    found = TASKS[1].scores(np.array([[0.1], [-2.0], [0.0], [3.0]]), Examples(np.array([1, 0, 1, 0]))).values
    assert (found["accuracy"], found["recall_no"], found["recall_yes"]) == (0.5, 0.5, 0.5)


def test_sets_of_labels_are_scored_as_scikit_learn_does() -> None:
    y, logits = RNG.integers(0, 2, (50, 3)), RNG.normal(size=(50, 3)).astype(np.float32)
    found = TASKS[2].scores(logits, Examples(y.astype(np.float32)))
    assert found.values["accuracy"] == pytest.approx(metrics.accuracy_score(y, logits > 0))
    assert found.values["f1_macro"] == pytest.approx(metrics.f1_score(y, logits > 0, average="macro"))
    recalls = metrics.recall_score(y, logits > 0, average=None)
    assert [found.values[f"recall_{c}"] for c in ABC] == pytest.approx(list(recalls))
    assert found.tags["worst_class"] == ABC[int(np.argmin(recalls))]


def test_numbers_are_scored_in_their_own_units() -> None:
    task = TASKS[3]
    y = RNG.normal((2, 3), (0.5, 4), (40, 2)).astype(np.float32)
    outputs = RNG.normal(size=(40, 2)).astype(np.float32)
    answers = outputs * [0.5, 4.0] + [2.0, 3.0]
    found = task.scores(outputs, Examples(y)).values
    assert found["r2"] == pytest.approx(metrics.r2_score(y, answers), rel=1e-5)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, answers), rel=1e-5)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, answers), rel=1e-5)
    assert found["mae_y"] == pytest.approx(metrics.mean_absolute_error(y[:, 1], answers[:, 1]), rel=1e-5)
    right = task.scores(((y - [2.0, 3.0]) / [0.5, 4.0]).astype(np.float32), Examples(y)).values
    assert right["r2"] == pytest.approx(1.0)
    assert "r2" not in task.scores(outputs[:1], Examples(y[:1])).values, "one example has no spread"


def test_area_under_curve_counts_ties_half() -> None:
    normal, anomalous = RNG.integers(0, 8, 60), RNG.integers(3, 11, 40)
    marks = np.r_[np.zeros(60), np.ones(40)]
    assert area_under_curve(normal, anomalous) == pytest.approx(metrics.roc_auc_score(marks, np.r_[normal, anomalous]))


def test_anomalies_are_scored_by_their_error() -> None:
    x = RNG.integers(-9, 9, (6, 4)).astype(np.float32)
    marks = np.array([0, 0, 0, 0, 1, 1])
    outputs = x + np.array([1, 1, 2, 1, 3, 2])[:, None].astype(np.float32)
    found = TASKS[4].scores(outputs, Examples(marks, lambda: x)).values
    assert found["auc"] == pytest.approx((4 + 3.5) / 8)
    assert (found["mse"], found["mse_anomalous"]) == pytest.approx(((1 + 1 + 4 + 1) / 4, (9 + 4) / 2))
    assert set(TASKS[4].scores(outputs, Examples(None, lambda: x)).values) == {"mse", "images"}


def batch(task: Task) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(inputs, outputs, labels) of five examples."""
    torch.manual_seed(0)
    inputs = torch.randn(5, 1, 2, 3)
    labels = {
        "classification": torch.tensor([0, 1, 1, 0, 1]), "regression": torch.randn(5, 2), "reconstruction": torch.zeros(5),
    }[task.kind]  # fmt: skip
    if getattr(task, "form", "") == "multi_label":
        labels = torch.randint(0, 2, (5, 3)).float()
    return inputs, torch.randn(5, task.outputs((1, 2, 3)), requires_grad=True), labels


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_the_loss_is_the_textbooks(task: Task) -> None:
    inputs, outputs, labels = batch(task)
    wanted = {
        "classes": lambda: F.cross_entropy(outputs, labels.long()),
        "one_logit": lambda: F.binary_cross_entropy(outputs.sigmoid(), labels[:, None].float()),
        "multi_label": lambda: F.binary_cross_entropy(outputs.sigmoid(), labels),
        "regression": lambda: ((outputs - (labels - torch.tensor([2.0, 3.0])) / torch.tensor([0.5, 4.0])) ** 2).mean(),
        "reconstruction": lambda: ((outputs - inputs.reshape(5, 6)) ** 2).mean(),
    }[getattr(task, "form", task.kind)]()
    assert task.loss()(inputs, outputs, labels).item() == pytest.approx(wanted.item(), rel=1e-5)
    examples = Examples(labels.numpy(), lambda: inputs.reshape(5, 6).numpy())
    assert task.validation_loss(outputs.detach().numpy(), examples) == pytest.approx(wanted.item(), rel=1e-5)


def test_smoothing_moves_both_answers_of_a_logit() -> None:
    inputs, outputs, labels = batch(TASKS[2])
    found = TASKS[2].loss(0.2)(inputs, outputs, labels)
    assert found.item() == pytest.approx(F.binary_cross_entropy(outputs.sigmoid(), labels * 0.8 + 0.1).item(), rel=1e-5)


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_who_answers_as_the_teacher_has_nothing_to_learn(task: Task) -> None:
    _, outputs, _ = batch(task)
    teacher = outputs.detach().clone()
    at_teacher = task.distillation_loss(outputs, teacher, 3.0)
    (gradient,) = torch.autograd.grad(at_teacher, outputs)
    assert at_teacher.item() == pytest.approx(0, abs=1e-6)
    assert gradient.abs().max().item() < 1e-6
    assert task.distillation_loss(outputs, teacher + torch.randn(teacher.shape), 3.0).item() > 0.01


@pytest.mark.parametrize("task", TASKS, ids=IDS)
def test_a_task_comes_back_as_it_was_stored(task: Task) -> None:
    assert read_task(stored(task), "manifest") == task


def test_the_better_score_stands_higher() -> None:
    assert headline(TASKS[4], {"mse": 0.5}).name == "mse"
    assert selection_key(TASKS[4], {"mse": 0.4}, 0.4) > selection_key(TASKS[4], {"mse": 0.5}, 0.5)
    assert selection_key(TASKS[0], {"accuracy": 0.9}, 2.0) > selection_key(TASKS[0], {"accuracy": 0.8}, 1.0)
    assert selection_key(TASKS[0], {"accuracy": 0.9}, 1.0) > selection_key(TASKS[0], {"accuracy": 0.9}, 2.0)


@pytest.mark.parametrize(
    ("task", "values", "said"),
    [
        (TASKS[0], {"accuracy": 0.4}, "hardly beats guessing among 3 classes"), (TASKS[0], {"accuracy": 0.6}, ""),
        (TASKS[2], {"f1_macro": 0.0}, "recognises no label"), (TASKS[2], {"f1_macro": 0.3}, ""),
        (TASKS[3], {"r2": 0.01}, "hardly beats answering the mean of all labels"), (TASKS[3], {"r2": 0.3}, ""),
        (TASKS[4], {"auc": 0.55}, "hardly tells anomalies from normal examples"), (TASKS[4], {"mse": 0.3}, ""),
    ],
)  # fmt: skip
def test_a_model_that_learned_nothing_is_doubted(task: Task, values: dict[str, float], said: str) -> None:
    assert task.learned_nothing(values) == said


def test_what_quantization_may_cost() -> None:
    r2, mae, _ = TASKS[3].measures
    assert (r2.much_worse(0.5, 0.45), r2.much_worse(0.5, 0.49), r2.much_worse(0.5, 0.6)) == (True, False, False)
    assert (mae.much_worse(40, 45), mae.much_worse(40, 41), mae.much_worse(40, 30)) == (True, False, False)
    assert (mae.unit, mae.show(45.518)) == ("cm", "45.52")


def test_answers_come_in_the_order_that_torch_has() -> None:
    image = RNG.integers(-128, 128, (4, 2, 3, 5)).astype(np.int8)  # n, H, W, C
    got = real(image.reshape(4, 1, 2, 3, 5), Tensor((1, 2, 3, 5), "int8", Quant((0.5,), 7)))
    np.testing.assert_array_equal(got, ((image.astype(np.float32) - 7) * 0.5).transpose(0, 3, 1, 2).reshape(4, -1))
    assert np.array_equal(real(image.astype(np.float32), Tensor((1, 2, 3, 5), "int8", Quant((0.5,), 7))).shape, (4, 30))
