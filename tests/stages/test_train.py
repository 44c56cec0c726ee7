"""train on real digits: what it gives, logs and refuses."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import weights
from recording import context
from torch import Tensor, nn
from weights import Dies, Fails, same, state

from pipeline.artifacts import FloatModel
from pipeline.data import source
from pipeline.data.checkpoint import load_checkpoint
from pipeline.data.dataset import Dataset
from pipeline.data.source import ModelRecipe, Source
from pipeline.errors import PipelineError, RecipeError
from pipeline.stages.distill import Distill
from pipeline.stages.prune import Prune
from pipeline.stages.train import Train
from pipeline.training import fit as _fit
from pipeline.training.fit import Schedule, augment, predict, thread_count


def test_train_learns_logs_every_epoch_and_leaves_its_source_alone(data: Dataset, tmp_path: Path) -> None:
    first = source.load(ModelRecipe(), data, 0)
    before = [t.clone() for t in state(first.module)]
    ctx, log = context(tmp_path)
    trained = Train(epochs=4, learning_rate=0.01).run(first, ctx)
    assert [step for step, _ in log.epochs] == [0, 1, 2, 3]
    assert all(set(v) == {"train_loss", "val_loss", "val_accuracy"} for _, v in log.epochs)
    assert log.epochs[-1][1]["train_loss"] < log.epochs[0][1]["train_loss"]
    assert log.metrics_["accuracy"] > 0.85
    assert log.metrics_["worst_class_recall"] == min(v for n, v in log.metrics_.items() if n.startswith("recall_"))
    assert log.metrics_["macs"] == 789_760
    assert log.progress == ["train: epochs 4/4"]
    assert not trained.module.training
    assert trained.teacher is None
    assert all(torch.equal(a, b) for a, b in zip(before, state(first.module), strict=True))
    again = source.load(ModelRecipe(), data, 5).module
    load_checkpoint(again, log.files[0])
    assert np.array_equal(predict(again.eval(), data, data.x_test), predict(trained.module, data, data.x_test))


def test_the_best_epoch_on_validation_is_kept(data: Dataset, tmp_path: Path) -> None:
    ctx, log = context(tmp_path)
    trained = Train(epochs=5, learning_rate=0.02).run(source.load(ModelRecipe(), data, 0), ctx)
    accuracy = (predict(trained.module, data, data.x_val).argmax(axis=1) == data.y_val).mean()
    assert accuracy == max(values["val_accuracy"] for _, values in log.epochs)


def test_weights_that_come_in_compete_as_the_best_epoch(data: Dataset, tmp_path: Path) -> None:
    """Training that makes a model worse on the validation split leaves it as it was, and that is told."""
    trained = Train(epochs=3, learning_rate=0.02).run(source.load(ModelRecipe(), data, 0), context(tmp_path)[0])
    for stage in (Prune(keep=1.0, steps=1, epochs=2, learning_rate=5.0), Distill(epochs=2, learning_rate=5.0)):
        ctx, log = context(tmp_path)
        after = stage.run(replace(trained, teacher=trained.module), ctx)
        assert same(after.module, trained.module)
        assert log.metrics_["best_epoch"] == 0
        assert max(values["val_accuracy"] for _, values in log.epochs) < 0.9


def test_untrained_weights_do_not_compete(data: Dataset, tmp_path: Path) -> None:
    """Training that kills the network is told, though the random weights that it began with did better by chance."""

    def by_chance(drawn: Source) -> float:
        return float((predict(drawn.module.eval(), data, data.x_val).argmax(axis=1) == data.y_val).mean())

    luckiest = max((source.load(ModelRecipe(), data, seed) for seed in range(12)), key=by_chance)
    ctx, log = context(tmp_path)
    with pytest.raises(PipelineError, match="train: nothing was learned"):
        Train(epochs=1, learning_rate=0.5, optimizer="sgd", weight_decay=1.0).run(luckiest, ctx)
    assert log.epochs[0][1]["val_accuracy"] < by_chance(luckiest)


def test_same_seed_same_weights_other_seed_others(data: Dataset, tmp_path: Path) -> None:
    first = source.load(ModelRecipe(), data, 0)
    runs = [Train(epochs=2).run(first, context(tmp_path, seed)[0]).module for seed in (3, 3, 4)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_training_leaves_torchs_settings_alone(data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(11)
    threads, expected = torch.get_num_threads(), torch.rand(3)
    torch.manual_seed(11)
    Train(epochs=1).run(source.load(ModelRecipe(), data, 0), context(tmp_path)[0])
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_sgd_trains_too(data: Dataset, tmp_path: Path) -> None:
    ctx, log = context(tmp_path)
    Train(epochs=4, optimizer="sgd", learning_rate=0.05, label_smoothing=0.0).run(source.load(ModelRecipe(), data, 0), ctx)
    assert log.metrics_["accuracy"] > 0.6


def test_a_checkpoint_passes_as_it_is(data: Dataset, model: FloatModel, tmp_path: Path) -> None:
    ctx, log = context(tmp_path)
    passed = Train(epochs=50).run(Source(model.module, data, tmp_path / "weights.pt"), ctx)
    assert same(passed.module, model.module)
    assert log.epochs == []
    assert "accuracy" in log.metrics_


class Explodes(nn.Module):
    """Its logits are finite until its weights have been changed once."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x.flatten(1) * 1e20) * 1e20


def test_a_loss_that_is_no_number_ends_training(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as e:
        Train(epochs=7, learning_rate=0.5).run(Source(Explodes(), data), context(tmp_path)[0])
    assert str(e.value) == (
        "train: the loss is no longer a number in epoch 1 of 7. Try a lower train.learning_rate than 0.5, for instance "
        "0.05, and check that data.mean and data.std fit the raw values."
    )
    assert e.value.exit_code == 1


def test_a_validation_loss_that_is_no_number_is_found(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fit, "_validate", lambda module, data: (float("nan"), {"accuracy": 0.5}))
    with pytest.raises(PipelineError, match="the loss is no longer a number in epoch 1 of 2"):
        Train(epochs=2).run(source.load(ModelRecipe(), data, 0), context(tmp_path)[0])


FAILURES = {
    "before the first batch": (True, False, "train: the model fails in training mode, with two of the data's images"),
    "in a batch": (True, True, "train: the model fails in training mode, with a batch of 62 images"),
    "in validation": (False, True, "the model fails in eval mode, with batches of 135 images"),
}


@pytest.mark.parametrize("error", [ValueError, SystemExit])
@pytest.mark.parametrize("case", FAILURES)
def test_a_model_that_fails_while_it_is_trained_is_told_with_its_line(
    case: str, error: type[BaseException], data: Dataset, tmp_path: Path
) -> None:
    training, large, message = FAILURES[case]
    with pytest.raises(RecipeError) as e:
        Train(epochs=2).run(Source(Fails(training, large, error).eval(), data), context(tmp_path)[0])
    line = next(
        i
        for i, text in enumerate(Path(weights.__file__).read_text().splitlines(), 1)
        if text.endswith('raise self.error("boom")')
    )
    assert str(e.value) == f"{message}: {error.__name__}: boom ({weights.__file__}, line {line})."
    assert e.value.exit_code == 2


def test_training_that_learns_nothing_is_no_success(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as e:
        Train(epochs=2, learning_rate=0.5).run(Source(Dies(), data), context(tmp_path)[0])
    assert str(e.value) == (
        "train: nothing was learned: the model gives the same outputs for every validation image. Try a lower "
        "train.learning_rate than 0.5, for instance 0.05, and check that data.mean and data.std fit the raw values."
    )
    assert e.value.exit_code == 1


def test_labels_that_can_not_be_learned_and_equal_images_are_no_failure(data: Dataset, tmp_path: Path) -> None:
    noise = replace(data, y_train=np.random.default_rng(0).permutation(data.y_train))
    Train(epochs=1, learning_rate=1e-8).run(source.load(ModelRecipe(), noise, 0), context(tmp_path)[0])
    alike = replace(data, x_val=np.repeat(data.x_val[:1], len(data.x_val), axis=0))
    Train(epochs=1).run(source.load(ModelRecipe(), alike, 0), context(tmp_path)[0])


def test_logits_that_are_alike_in_some_classes_are_no_failure(data: Dataset) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    with torch.no_grad():
        module[1].weight[3] = 0.0  # type: ignore[index]
        module[1].bias[3] = 0.0  # type: ignore[index]
    assert not _fit._ignores_images(module, data)
    with torch.no_grad():
        module[1].weight.fill_(1e-9)  # type: ignore[operator]
        module[1].bias.zero_()[0] = 1.0  # type: ignore[operator]
    assert _fit._ignores_images(module, data), "what is left of the images is less than rounding"


def test_the_learning_rate_warms_up_and_decays() -> None:
    schedule = Schedule(10, 1.0)
    factors = [schedule.factor(i, 100) for i in range(101)]
    assert factors[0] == pytest.approx(0.2)
    assert max(factors) == factors[4] == factors[5] == 1.0
    assert factors[100] == pytest.approx(0.0)
    assert all(a >= b for a, b in itertools.pairwise(factors[5:]))


def test_threads_are_few_for_small_models() -> None:
    assert thread_count(20_000_000) == 1
    assert thread_count(100_000_000) >= 1


def test_augmentation_moves_images_whole(data: Dataset) -> None:
    x = torch.arange(2 * 3 * 6 * 6, dtype=torch.float32).reshape(2, 3, 6, 6)
    plain = augment(data, x, np.random.default_rng(0))
    assert plain is x
    grown = F.pad(x, (1, 1, 1, 1), mode="replicate")
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(50):
        moved = augment(replace(data, shift=1), x, rng)
        for i in range(2):
            found = [(r, c) for r in range(3) for c in range(3) if torch.equal(moved[i], grown[i, :, r : r + 6, c : c + 6])]
            assert len(found) == 1
            seen.add(found[0])
    assert len(seen) == 9
    flipped = augment(replace(data, flip=True), x.repeat(20, 1, 1, 1), rng)
    kinds = {"as it was" if torch.equal(a, b) else "flipped" for a, b in zip(flipped, x.repeat(20, 1, 1, 1), strict=True)}
    assert kinds == {"as it was", "flipped"}
    assert all(torch.equal(a, b) or torch.equal(a.flip(2), b) for a, b in zip(flipped, x.repeat(20, 1, 1, 1), strict=True))
