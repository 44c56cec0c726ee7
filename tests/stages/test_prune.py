"""prune on real digits: which channels go, which groups stay whole, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import weights
from recording import context
from torch import Tensor, nn
from weights import Dies, Fails, same

from pipeline.artifacts import FloatModel
from pipeline.data.dataset import Dataset
from pipeline.errors import RecipeError
from pipeline.preprocess import Normalization
from pipeline.stages.prune import Prune
from pipeline.training.channels import Criterion, NotSafe, find_groups, remove_channels
from pipeline.training.cost import cost
from pipeline.training.cut import gradients


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
    left_whole = tmp_path / "pruning.md"
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
    said = (tmp_path / "pruning.md").read_text()
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
        f"({weights.__file__}, line "
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


class Records(nn.Module):
    """`seen` are its batches, by the values of a first pixel that is the example's number."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(2, 10)
        self.seen: list[list[int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x[:, 0, 0, 0].round().int().tolist())
        return self.dense(x.flatten(1))


@pytest.mark.parametrize("batch_size", [300, 5000])
def test_taylor_looks_at_images_of_the_whole_file(batch_size: int, data: Dataset) -> None:
    x = np.zeros((3000, 1, 2, 1), np.float32)
    x[:, 0, 0, 0] = np.arange(3000)
    ordered = replace(data, x_train=x, y_train=np.arange(3000) // 300, normalization=Normalization((0.0,), (1.0,)))
    module = Records()
    gradients(module, ordered, batch_size, 0)
    seen = [number for batch in module.seen for number in batch]
    assert len(set(seen)) == len(seen) == 2048
    assert max(map(len, module.seen)) == min(batch_size, 2048)
    assert min(np.bincount(np.array(seen) // 300, minlength=10)) > 150, "about two hundred of each class"
    again = Records()
    gradients(again, ordered, batch_size, 0)
    assert again.seen == module.seen


class PartlyFrozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front, self.conv, self.dense = nn.Conv2d(1, 16, 3, bias=False), nn.Conv2d(16, 16, 3), nn.Linear(16, 10)
        self.front.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(F.relu(self.conv(F.relu(self.front(x)))).mean((2, 3)))


@pytest.mark.parametrize("criterion", ["magnitude", "taylor"])
def test_frozen_weights_lose_channels_and_stay_frozen(criterion: Criterion, data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = PartlyFrozen().eval()
    pruned = Prune(keep=0.4, epochs=2, criterion=criterion).run(FloatModel(module, data), context(tmp_path)[0]).module
    assert [n for n, p in pruned.named_parameters() if not p.requires_grad] == ["front.weight"]
    left = pruned.get_parameter("front.weight")
    assert len(left) < 16
    assert all(any(torch.equal(row, old) for old in module.front.weight) for row in left)
