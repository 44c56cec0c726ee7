"""The stages under tasks that are no classification: what they learn by, log and keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recording import context
from torch import nn

from pipeline.artifacts import FloatModel
from pipeline.data import source
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.data.source import ModelRecipe
from pipeline.stages.distill import Distill
from pipeline.stages.prune import Prune
from pipeline.stages.quantize import Quantize
from pipeline.stages.train import Train
from pipeline.tasks.reconstruction import ReconstructionRecipe
from pipeline.tasks.regression import Regression, RegressionRecipe
from pipeline.training.fit import predict


@pytest.fixture(scope="module")
def diabetes() -> Dataset:
    return load(DataRecipe("diabetes"), 1, task_recipe=RegressionRecipe())


def test_numbers_through_every_float_stage_and_training_in_int8(diabetes: Dataset, tmp_path: Path) -> None:
    first = source.load(ModelRecipe("mlp"), diabetes, 1)
    ctx, log = context(tmp_path)
    trained = Train(epochs=10, learning_rate=0.01).run(first, ctx)
    assert set(log.epochs[0][1]) == {"train_loss", "val_loss", "val_r2"}
    kept = diabetes.task.scores(predict(trained.module, diabetes, diabetes.x_val), diabetes.validation_examples()).values
    assert kept["r2"] == max(values["val_r2"] for _, values in log.epochs), "the best epoch's weights"
    ctx, log = context(tmp_path)
    pruned = Prune(keep=0.6, epochs=4).run(trained, ctx)
    assert log.metrics_["r2"] > 0.3
    assert log.metrics_["macs_kept"] <= 0.6
    taught = Distill(epochs=4).run(pruned, context(tmp_path)[0])
    ctx, log = context(tmp_path)
    Quantize(mode="qat", epochs=2).run(taught, ctx)
    assert log.metrics_["r2_drop"] == log.metrics_["float_r2"] - log.metrics_["r2"]
    assert log.metrics_["r2"] > 0.3
    assert "accuracy" not in log.metrics_


def test_a_student_of_the_teacher_alone_answers_as_it_does(diabetes: Dataset, tmp_path: Path) -> None:
    """Labels say nothing with weight = 1: the student follows a teacher that knows other numbers."""
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(10, 1))
    student = source.load(ModelRecipe("mlp"), diabetes, 1).module
    ctx = context(tmp_path)[0]
    task = diabetes.task
    assert isinstance(task, Regression)
    known = predict(teacher, diabetes, diabetes.x_val) * task.std[0] + task.mean[0]
    data = replace(diabetes, y_val=known)  # by which the best epoch is chosen
    taught = Distill(epochs=20, weight=1.0, learning_rate=0.01).run(FloatModel(student, data, teacher), ctx)
    wanted, given = (predict(m, diabetes, diabetes.x_train)[:, 0] for m in (teacher, taught.module))
    before = predict(student, diabetes, diabetes.x_train)[:, 0]
    assert np.square(given - wanted).mean() < 0.3 * np.square(before - wanted).mean()


def images(folder: Path) -> Dataset:
    """Two channels that have nothing in common: a gradient from left to right, and noise of few colours from above."""
    rng = np.random.default_rng(0)
    x = np.zeros((200, 4, 4, 2), np.uint8)
    x[..., 0] = rng.integers(0, 60, (200, 1, 1)) + 40 * np.arange(4)
    x[..., 1] = 255 * rng.integers(0, 2, (200, 4, 1))
    np.savez(folder / "two.npz", x_train=x[:160], x_test=x[160:])
    return load(DataRecipe("two.npz"), 0, folder, ReconstructionRecipe())


def test_an_image_is_compared_value_by_value(tmp_path: Path) -> None:
    data = images(tmp_path)
    (tmp_path / "conv_autoencoder.py").write_text(
        "from torch import nn\n"
        "def build(shape, values):\n"
        "    return nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))\n"
    )
    first = source.load(ModelRecipe("conv_autoencoder:build"), data, 0, tmp_path)
    ctx, log = context(tmp_path)
    trained = Train(epochs=30, learning_rate=0.02).run(first, ctx)
    assert log.metrics_["mse"] < 0.03, "the mean of all images has 0.14"
    assert log.metrics_["mse"] == pytest.approx(
        float(np.square(predict(trained.module, data, data.x_test) - data.x_test.transpose(0, 3, 1, 2) / 255).mean()),
        rel=1e-4,
    )
    ctx, log = context(tmp_path)
    Quantize(count=100).run(trained, ctx)
    assert log.metrics_["mse"] == pytest.approx(log.metrics_["float_mse"], rel=0.2)
    assert log.metrics_["mse_rise"] == log.metrics_["mse"] - log.metrics_["float_mse"]
