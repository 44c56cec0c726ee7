"""distill on real digits: whom it follows, and what its loss is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from recording import context
from torch import nn

from pipeline.artifacts import FloatModel
from pipeline.data import source
from pipeline.data.dataset import Dataset
from pipeline.data.source import ModelRecipe
from pipeline.errors import RecipeError
from pipeline.stages.distill import Distill
from pipeline.stages.train import Train
from pipeline.tasks.classification import Classification
from pipeline.training.fit import predict


def test_distill_needs_a_teacher(model: FloatModel, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as e:
        Distill().run(model, context(tmp_path)[0])
    assert str(e.value) == (
        "distill has no teacher: it is the model before pruning, and nothing was pruned. Add a [prune] table to the recipe "
        "or remove [distill]."
    )


def test_distill_follows_the_teacher_and_not_the_labels(data: Dataset, tmp_path: Path) -> None:
    teacher = Train(epochs=6, learning_rate=0.01).run(source.load(ModelRecipe(), data, 0), context(tmp_path)[0]).module
    student = source.load(ModelRecipe("digits_cnn", arguments={"width": 8}), data, 1).module
    wrong = replace(data, y_train=(data.y_train + 1) % 10, y_val=predict(teacher, data, data.x_val).argmax(axis=1))
    artifact = FloatModel(student, wrong, teacher)
    ctx, log = context(tmp_path)
    taught = Distill(epochs=6, weight=1.0, learning_rate=0.01).run(artifact, ctx)
    agreed = predict(taught.module, data, data.x_test).argmax(axis=1) == predict(teacher, data, data.x_test).argmax(axis=1)
    assert agreed.mean() > 0.75
    assert taught.teacher is teacher
    assert len(log.epochs) == 6


def test_the_distillation_loss_is_hintons() -> None:
    torch.manual_seed(0)
    teacher, x, logits, y = nn.Linear(5, 3), torch.randn(4, 5), torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    loss = Distill(temperature=3.0, weight=0.25).loss(Classification(("a", "b", "c")), teacher)(x, logits, y)
    p = F.softmax(teacher(x) / 3, dim=1)
    divergence = (p * (p.log() - F.log_softmax(logits / 3, dim=1))).sum(dim=1).mean()
    assert loss.item() == pytest.approx((0.25 * 9 * divergence + 0.75 * F.cross_entropy(logits, y)).item(), rel=1e-5)
