"""train, prune and distill on real digits: what they give, log and refuse."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from recording import context
from torch import Tensor, nn

from pipeline.artifacts import FloatModel
from pipeline.data import source
from pipeline.data.checkpoint import load_checkpoint
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.data.source import ModelRecipe, Source
from pipeline.errors import PipelineError, RecipeError
from pipeline.stages.distill import Distill
from pipeline.stages.prune import Prune
from pipeline.stages.train import Train
from pipeline.tasks.classification import Classification
from pipeline.training import fit as _fit
from pipeline.training.channels import NotSafe, find_groups, remove_channels
from pipeline.training.cost import cost
from pipeline.training.fit import Schedule, augment, predict, thread_count


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load(DataRecipe(limit=700), 0)


@pytest.fixture(scope="module")
def model(data: Dataset) -> FloatModel:
    """digits_cnn, not trained."""
    return FloatModel(source.load(ModelRecipe(), data, 0).module, data)


def state(module: nn.Module) -> list[Tensor]:
    return list(module.state_dict().values())


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(state(a), state(b), strict=True))


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


class Fails(nn.Module):
    """In training or in eval mode, with batches of two or with larger ones."""

    def __init__(self, training: bool, large: bool, error: type[BaseException] = ValueError) -> None:
        super().__init__()
        self.dense, self.fails, self.error = nn.Linear(64, 10), (training, large), error

    def forward(self, x: Tensor) -> Tensor:
        if (self.training, len(x) > 2) == self.fails:
            raise self.error("boom")
        return self.dense(x.flatten(1))


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
        i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if text.endswith('raise self.error("boom")')
    )
    assert str(e.value) == f"{message}: {error.__name__}: boom ({__file__}, line {line})."
    assert e.value.exit_code == 2


class Dies(nn.Module):
    """Its only ReLUs never see a positive number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.dense = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 10)
        nn.init.constant_(self.second.bias, -1e3)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(F.relu(self.second(F.relu(self.first(x.flatten(1))))))


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


@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "bn_scale", "random"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_prune_reaches_its_macs_with_channels_in_fours(
    criterion: str, scope: str, model: FloatModel, tmp_path: Path
) -> None:
    ctx, log = context(tmp_path)
    pruned = Prune.run(Prune(keep=0.4, criterion=criterion, scope=scope, steps=1, epochs=0), model, ctx)  # type: ignore[arg-type]
    found = cost(pruned.module, model.data.input_shape)
    assert 0.05 * 789_760 < found.macs <= 0.4 * 789_760
    assert log.metrics_["macs"] == found.macs
    assert log.metrics_["macs_before"] == 789_760
    assert log.metrics_["macs_kept"] == found.macs / 789_760
    assert all(layer.channels % 4 == 0 for layer in found.layers if layer.name != "dense")
    assert pruned.teacher is model.module
    left_whole = tmp_path / "prune" / "pruning.md"
    assert left_whole in log.files
    assert "| dense | 10 -> 10 |" in left_whole.read_text()
    assert "- dense: it makes the model's output" in left_whole.read_text()


def test_prune_in_steps_fine_tunes_after_each(model: FloatModel, tmp_path: Path) -> None:
    ctx, log = context(tmp_path)
    Prune(keep=0.4, steps=2, epochs=3).run(model, ctx)
    assert [step for step, _ in log.epochs] == [0, 1, 2]
    assert log.progress == ["prune: round 1 of 2: epochs 1/1", "prune: round 2 of 2: epochs 2/2"]


def test_keep_1_without_epochs_changes_nothing_and_shows_no_progress(model: FloatModel, tmp_path: Path) -> None:
    ctx, log = context(tmp_path)
    assert same(Prune(keep=1.0, epochs=0).run(model, ctx).module, model.module)
    assert log.progress == []


def test_steps_without_a_share_of_the_epochs_show_no_progress(model: FloatModel, tmp_path: Path) -> None:
    ctx, log = context(tmp_path)
    Prune(keep=0.9, steps=2, epochs=1, criterion="magnitude").run(model, ctx)
    assert log.progress == ["prune: round 2 of 2: epochs 1/1"]


def test_pruning_repeats_itself(model: FloatModel, tmp_path: Path) -> None:
    stage = Prune(keep=0.5, criterion="random", steps=1, epochs=1)
    assert same(*(stage.run(model, context(tmp_path)[0]).module for _ in range(2)))


def test_a_keep_out_of_reach_says_what_is_left(model: FloatModel, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as e:
        Prune(keep=0.01, min_channels=12, steps=1).run(model, context(tmp_path)[0])
    assert str(e.value) == (
        "prune.keep = 0.01 can not be reached: 7,897 of now 789,760 MACs are wanted, but with every layer at its minimum "
        "(12 channels, multiples of 4) it is 127,200 MACs. Raise keep, or lower min_channels or round_to. Left whole: "
        "dense: it makes the model's output."
    )


class PaddedShortcut(nn.Module):
    """ResNet for CIFAR with shortcut A: a strided slice, padded with zero channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.last = nn.Conv2d(16, 16, 3, padding=1)
        self.dense = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)))
        return self.dense(F.relu(self.last(x)).mean((2, 3)))


def test_groups_that_break_the_model_stay_whole_and_are_named(data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = PaddedShortcut().eval()
    ctx, _ = context(tmp_path)
    pruned = Prune(keep=0.8, steps=1, epochs=0, criterion="magnitude").run(FloatModel(module, data), ctx)
    channels = {layer.name: layer.channels for layer in cost(pruned.module, data.input_shape).layers}
    assert channels["stem"] == 8
    assert channels["last"] < 16
    assert channels["conv"] == 16
    said = (tmp_path / "prune" / "pruning.md").read_text()
    assert "- conv: torch-pruning couples its channels wrongly (index 8 is out of bounds" in said


class Reverses(nn.Module):
    """Channels are read in another order than they are made: no dependency graph of ours sees that."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)
        self.dense = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first(x))
        return self.dense(F.relu(self.second(y.flip(1))).mean((2, 3)))


def test_a_cut_that_computes_something_else_is_not_believed() -> None:
    torch.manual_seed(0)
    module = Reverses().eval()
    example = torch.randn(2, 1, 8, 8)
    with pytest.raises(NotSafe, match="computes something else: a layer reads channels that moved"):
        remove_channels(module, example, "first", [0, 1])
    assert remove_channels(module, example, "second", [0, 1])(example).shape == (2, 10)
    assert "first" in find_groups(module, example, "magnitude", 2).whole


def test_a_wrong_cut_is_seen_in_small_numbers_too() -> None:
    torch.manual_seed(0)
    module = Reverses().eval()
    with torch.no_grad():
        module.dense.weight *= 1e-5
        module.dense.bias.zero_()
    with pytest.raises(NotSafe, match="computes something else"):
        remove_channels(module, torch.randn(2, 1, 8, 8), "first", [0, 1])


def test_a_group_that_round_to_would_empty_is_tried_without_all_but_one() -> None:
    torch.manual_seed(0)
    assert "second" in find_groups(Reverses().eval(), torch.randn(2, 1, 8, 8), "magnitude", 8).importance


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Conv2d(8, 1, 1), nn.ReLU()
        )
        self.dense = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.body(x).flatten(1))


def test_grouped_convolutions_and_single_channels_stay_whole(data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.raises(RecipeError) as e:
        Prune(keep=0.5, steps=1, criterion="magnitude").run(FloatModel(Grouped().eval(), data), context(tmp_path)[0])
    assert "no group of layers can lose channels" in str(e.value)
    assert "body.0: a convolution in 2 groups hangs on it" in str(e.value)
    assert "body.4: it has one channel" in str(e.value)


def test_without_gradients_taylor_says_so(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as e:
        Prune(keep=0.5, steps=1).run(FloatModel(Dies().eval(), data), context(tmp_path)[0])
    reason = (
        "its channels have no taylor importance, since the loss has no gradient there: nothing was learned, or nothing is "
        'left to learn ("magnitude" needs none)'
    )
    assert str(e.value) == (
        "prune.keep = 0.5 can not be reached: no group of layers can lose channels. Change what keeps them whole, "
        f"or remove [prune]. Left whole: dense, second, first: {reason}."
    )


def test_a_model_without_gradients_is_told_with_its_line(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as e:
        Prune(keep=0.5, steps=1).run(FloatModel(Fails(False, True, SystemExit).eval(), data), context(tmp_path)[0])
    assert str(e.value).startswith(
        "prune: the model gives no gradients in eval mode, which the taylor criterion needs: SystemExit: boom "
        f"({__file__}, line "
    )


class Shuffled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3), nn.Conv2d(4, 10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.pixel_shuffle(self.first(x), 2)).mean((2, 3))


def test_pixel_shuffle_leaves_nothing_to_cut(data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with pytest.raises(RecipeError) as e:
        Prune(keep=0.5, steps=1, criterion="magnitude").run(FloatModel(Shuffled().eval(), data), context(tmp_path)[0])
    assert str(e.value).startswith(
        "prune.keep = 0.5 can not be reached: no group of layers can lose channels. Change what keeps them whole, "
        "or remove [prune]. Left whole: second: it makes the model's output; first: "
    )


def test_a_model_that_can_not_be_traced_stays_whole(data: Dataset, tmp_path: Path) -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return torch.from_numpy(self.dense(x.flatten(1)).detach().numpy())

    with pytest.raises(RecipeError, match="the whole model: torch-pruning finds no layers in it"):
        Prune(keep=0.5, steps=1, criterion="magnitude").run(FloatModel(Frozen().eval(), data), context(tmp_path)[0])


class Odd(nn.Module):
    """A layer reads twice as many channels as another makes, in a way that no tracing explains."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 16), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x.flatten(1))
        return self.second(y.reshape(len(x), 8, 2).sum(dim=2))


def test_channels_that_are_added_up_stay_whole() -> None:
    module = Odd().eval()
    assert "first" in find_groups(module, torch.randn(2, 1, 8, 8), "magnitude", 2).whole


def test_a_model_that_fails_when_traced_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, *args: object, **kwargs: object) -> None:
        raise ValueError("no such operator\nmore")

    monkeypatch.setattr("torch_pruning.DependencyGraph.build_dependency", fail)
    groups = find_groups(Odd().eval(), torch.randn(2, 1, 8, 8), "magnitude", 2)
    assert groups.whole == {"the whole model": "torch-pruning can not trace it (no such operator)"}


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
