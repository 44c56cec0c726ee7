"""Pruning takes the channels it ought to: some are planted that must go, the others must stay, whatever the network's shape.

A channel is known by its maker's bias, which no criterion looks at. It is negative, so a ReLU leaves nothing of it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from recording import context
from torch import Tensor, nn

from pipeline.artifacts import FloatModel
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.stages.prune import Prune
from pipeline.training.channels import Criterion, find_groups
from pipeline.training.cost import cost
from pipeline.training.fit import batch_of

pytestmark = pytest.mark.unmeasured
WIDTHS = (16, 16)
Maker = nn.Conv2d | nn.Linear


class Net(nn.Module):
    """Two groups of channels. `makers`, `norms` and `readers` of a group are the layers that give and take them."""

    makers: list[list[Maker]]
    readers: list[list[Maker]]
    norms: list[list[nn.BatchNorm2d]]
    masks: tuple[Tensor | float, Tensor | float] = (1.0, 1.0)  # what `expected` silences

    def silent(self, x: Tensor, group: int) -> Tensor:
        mask = self.masks[group]
        return x * mask if isinstance(mask, float) else x * mask.reshape(-1, *[1] * (x.dim() - 2))


class Chain(Net):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.first, self.second, self.dense = nn.Conv2d(1, a, 3, padding=1), nn.Conv2d(a, b, (3, 1)), nn.Linear(b, 10)
        self.bn1, self.bn2 = nn.BatchNorm2d(a), nn.BatchNorm2d(b)
        self.makers, self.readers = [[self.first], [self.second]], [[self.second], [self.dense]]
        self.norms = [[self.bn1], [self.bn2]]

    def forward(self, x: Tensor) -> Tensor:
        x = self.silent(F.relu(self.bn1(self.first(x))), 0)
        x = self.silent(F.relu(self.bn2(self.second(x))), 1)
        return self.dense(x.mean((2, 3)))


class Residual(Net):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(1, a, 3), nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, a, 1)
        self.bn1, self.bn2, self.bn3, self.dense = (
            nn.BatchNorm2d(a),
            nn.BatchNorm2d(b),
            nn.BatchNorm2d(a),
            nn.Linear(a, 10),
        )
        self.makers, self.readers = [[self.stem, self.two], [self.one]], [[self.one, self.dense], [self.two]]
        self.norms = [[self.bn1, self.bn3], [self.bn2]]

    def forward(self, x: Tensor) -> Tensor:
        x = self.silent(F.relu(self.bn1(self.stem(x))), 0)
        y = self.silent(F.relu(self.bn2(self.one(x))), 1)
        x = self.silent(F.relu(x + self.bn3(self.two(y))), 0)
        return self.dense(x.mean((2, 3)))


class Depthwise(Net):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.stem, self.spread, self.mix = nn.Conv2d(1, a, 3), nn.Conv2d(a, a, 3, groups=a), nn.Conv2d(a, b, 1)
        self.bn1, self.bn2, self.bn3, self.dense = (
            nn.BatchNorm2d(a),
            nn.BatchNorm2d(a),
            nn.BatchNorm2d(b),
            nn.Linear(b, 10),
        )
        self.makers, self.readers = [[self.stem, self.spread], [self.mix]], [[self.mix], [self.dense]]
        self.norms = [[self.bn1, self.bn2], [self.bn3]]

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.stem(x)))
        x = self.silent(F.relu(self.bn2(self.spread(x))), 0)
        x = self.silent(F.relu(self.bn3(self.mix(x))), 1)
        return self.dense(x.mean((2, 3)))


class Dense(Net):
    """Without batch norm: "bn_scale" looks at the weights then."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.first, self.second, self.dense = nn.Linear(64, a), nn.Linear(a, b), nn.Linear(b, 10)
        self.makers, self.readers = [[self.first], [self.second]], [[self.second], [self.dense]]
        self.norms = [[], []]

    def forward(self, x: Tensor) -> Tensor:
        x = self.silent(F.relu(self.first(x.flatten(1))), 0)
        return self.dense(self.silent(F.relu(self.second(x)), 1))


NETS: dict[str, Callable[[int, int], Net]] = {
    "chain": Chain, "residual": Residual, "depthwise": Depthwise, "dense": Dense,
}  # fmt: skip


def zero(net: Net, group: int, doomed: Sequence[int]) -> None:
    """Nothing is made of them."""
    for layer in (*net.makers[group], *net.norms[group]):
        layer.weight[doomed] = 0.0
    for norm in net.norms[group]:
        norm.bias[doomed] = 0.0


def tiny(net: Net, group: int, doomed: Sequence[int]) -> None:
    """A thousandth of the others, made and read."""
    for layer in (*net.makers[group], *net.norms[group]):
        layer.weight[doomed] *= 1e-3
    for norm in net.norms[group]:
        norm.bias[doomed] *= 1e-3
    for layer in net.readers[group]:
        layer.weight[:, doomed] *= 1e-3


def unread(net: Net, group: int, doomed: Sequence[int]) -> None:
    """The largest weights of all, of which nothing reaches the loss."""
    for layer in net.makers[group]:
        layer.weight[doomed] *= 10.0
    for layer in net.readers[group]:
        layer.weight[:, doomed] = 0.0


def scaled_away(net: Net, group: int, doomed: Sequence[int]) -> None:
    """The largest weights of all, which a batch norm takes to zero."""
    for layer in net.makers[group]:
        layer.weight[doomed] *= 10.0
    for norm in net.norms[group]:
        norm.weight[doomed] = 0.0
        norm.bias[doomed] = 0.0


PLANTED: list[tuple[Criterion, Callable[[Net, int, Sequence[int]], None]]] = [
    ("magnitude", zero), ("taylor", zero), ("bn_scale", zero), ("magnitude", tiny), ("taylor", tiny), ("bn_scale", tiny),
    ("taylor", unread), ("bn_scale", scaled_away),
]  # fmt: skip
ROWS = [
    pytest.param(net, criterion, plant, id=f"{net}-{criterion}-{plant.__name__}")
    for net in NETS
    for criterion, plant in PLANTED
    if not (net == "dense" and plant is scaled_away)
]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load(DataRecipe(limit=120), 0)


def strong(name: str, data: Dataset) -> Net:
    """A net whose channels all matter about as much."""
    torch.manual_seed(3)
    net = NETS[name](*WIDTHS)
    with torch.no_grad():
        for layer in (m for m in net.modules() if isinstance(m, Maker)):
            layer.weight.copy_(torch.sign(torch.randn(layer.weight.shape)) * (0.2 + 0.1 * torch.rand(layer.weight.shape)))
        for maker in (m for group in net.makers for m in group):
            assert maker.bias is not None
            maker.bias.copy_(-1e-3 * torch.arange(1, len(maker.bias) + 1))
        for norm in (m for group in net.norms for m in group):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.fill_(0.5)
            norm.momentum = 1.0
        net.train()(batch_of(data, data.x_train))  # the norms' statistics are those of the data: every channel is alive
    return net.eval()


def doomed_of(counts: tuple[int, int]) -> list[list[int]]:
    """Other channels in each group."""
    generator = torch.Generator().manual_seed(5)
    return [sorted(torch.randperm(w, generator=generator)[:n].tolist()) for w, n in zip(WIDTHS, counts, strict=True)]


def kept_by(maker: Maker) -> list[int]:
    assert maker.bias is not None
    return [round(-1e3 * b) - 1 for b in maker.bias.tolist()]


def expected(net: Net, kept: Sequence[Sequence[int]], x: Tensor) -> Tensor:
    """What the whole net answers when the channels that are not kept say nothing."""
    whole = copy.deepcopy(net)
    masks = [torch.zeros(w) for w in WIDTHS]
    for mask, channels in zip(masks, kept, strict=True):
        mask[list(channels)] = 1.0
    whole.masks = (masks[0], masks[1])
    with torch.no_grad():
        return whole(x)


def pruned(settings: Prune, net: Net, data: Dataset, folder: Path, seed: int = 0) -> Net:
    module = settings.run(FloatModel(net, data), context(folder, seed)[0]).module
    assert isinstance(module, Net)
    return module


def share(name: str, net: Net, widths: tuple[int, int], data: Dataset) -> float:
    """`keep` that these widths just reach."""
    return (cost(NETS[name](*widths), data.input_shape).macs + 0.5) / cost(net, data.input_shape).macs


def assert_kept(after: Net, before: Net, gone: Sequence[Sequence[int]], data: Dataset) -> None:
    kept = [[c for c in range(w) if c not in channels] for w, channels in zip(WIDTHS, gone, strict=True)]
    for group, makers in enumerate(after.makers):
        for maker in makers:
            assert kept_by(maker) == kept[group], f"group {group}, whose channels {gone[group]} are planted to go"
            assert maker.weight.shape[0] == len(kept[group])
        for reader in after.readers[group]:
            assert reader.weight.shape[1] == len(kept[group])
    x = batch_of(data, data.x_train[:16])
    with torch.no_grad():
        torch.testing.assert_close(after(x), expected(before, kept, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("scope", "counts"), [("layer", (8, 8)), ("global", (11, 5)), ("global", (3, 9))])
@pytest.mark.parametrize(("name", "criterion", "plant"), ROWS)
def test_what_is_planted_goes_and_the_rest_stays(
    name: str,
    criterion: Criterion,
    plant: Callable[[Net, int, Sequence[int]], None],
    scope: str,
    counts: tuple[int, int],
    data: Dataset,
    tmp_path: Path,
) -> None:
    net, doomed = strong(name, data), doomed_of(counts)
    with torch.no_grad():
        for group, channels in enumerate(doomed):
            plant(net, group, channels)
    keep = share(name, net, (WIDTHS[0] - counts[0], WIDTHS[1] - counts[1]), data)
    settings = Prune(keep=keep, criterion=criterion, scope=scope, steps=1, round_to=1, min_channels=1, epochs=0)  # type: ignore[arg-type]
    after = pruned(settings, net, data, tmp_path)
    assert_kept(after, net, doomed, data)
    if plant is not tiny:  # nothing was lost with them
        x = batch_of(data, data.x_train[:16])
        with torch.no_grad():
            torch.testing.assert_close(after(x), net(x), rtol=1e-5, atol=1e-5)


def importance(net: Net, criterion: Criterion, data: Dataset) -> list[Tensor]:
    """Of each channel by the criterion's definition, as a share of its group's mean. Depthwise weights do not count."""
    x, y = batch_of(data, data.x_train), torch.from_numpy(data.y_train)
    module = copy.deepcopy(net).requires_grad_(True)
    F.cross_entropy(module(x), y).backward()  # type: ignore[no-untyped-call]

    found = []
    for makers, norms, readers in zip(module.makers, module.norms, module.readers, strict=True):
        makers = [m for m in makers if isinstance(m, nn.Linear) or m.groups == 1]
        layers = [(m.weight.flatten(1), _grad(m).flatten(1)) for m in makers]
        layers += [(r.weight.transpose(0, 1).flatten(1), _grad(r).transpose(0, 1).flatten(1)) for r in readers]
        if criterion == "taylor":
            scores = torch.stack([(w * g).abs().sum(1) for w, g in layers])
        elif criterion == "bn_scale" and norms:
            scores = torch.stack([n.weight.abs() for n in norms])
        else:
            scores = torch.stack([w.square().sum(1) for w, _ in layers] + [n.weight.square() for n in norms])
        total = scores.detach().sum(0)
        found.append(total / total.mean())
    return found


def _grad(layer: Maker) -> Tensor:
    assert layer.weight.grad is not None
    return layer.weight.grad


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "bn_scale"])
@pytest.mark.parametrize("name", NETS)
def test_the_least_important_go_first(name: str, criterion: Criterion, scope: str, data: Dataset, tmp_path: Path) -> None:
    net = strong(name, data)
    scores = importance(net, criterion, data)
    ranked = sorted((float(s), group, c) for group, found in enumerate(scores) for c, s in enumerate(found))
    for lost in (6, 16, 24):
        if scope == "global":
            gone = [[c for _, group, c in ranked[:lost] if group == g] for g in (0, 1)]
        else:
            gone = [[c for _, group, c in ranked if group == g][: lost // 2] for g in (0, 1)]
        keep = share(name, net, (16 - len(gone[0]), 16 - len(gone[1])), data)
        settings = Prune(
            keep=keep,
            criterion=criterion,
            scope=scope,
            steps=1,
            round_to=1,
            min_channels=1,
            epochs=0,
            batch_size=256,  # type: ignore[arg-type]
        )
        assert_kept(pruned(settings, net, data, tmp_path / str(lost)), net, gone, data)


@pytest.mark.parametrize("name", NETS)
def test_random_takes_any_channel_and_cuts_it_alike(name: str, data: Dataset, tmp_path: Path) -> None:
    net = strong(name, data)
    keep = share(name, net, (8, 8), data)
    settings = Prune(keep=keep, criterion="random", steps=1, round_to=1, min_channels=1, epochs=0)
    seen: list[set[tuple[int, int]]] = []
    for seed in range(8):
        after = pruned(settings, net, data, tmp_path / str(seed), seed)
        gone = [[c for c in range(16) if c not in kept_by(makers[0])] for makers in after.makers]
        assert_kept(after, net, gone, data)
        seen.append({(group, c) for group, channels in enumerate(gone) for c in channels})
    assert all(len(channels) == 16 for channels in seen)
    assert len(set.union(*seen)) > 28, "weak and strong alike"
    assert len(set.intersection(*seen)) == 0


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("criterion", ["magnitude", "bn_scale"])
def test_importance_is_that_of_the_group_it_is_filed_under(name: str, criterion: Criterion, data: Dataset) -> None:
    net = strong(name, data)
    names = {m: n for n, m in net.named_modules()}
    with torch.no_grad():
        zero(net, 1, [2, 3, 5])
    groups = find_groups(net, batch_of(data, data.x_train[:2]), criterion, 1)
    filed = [[s for n, s in groups.importance.items() if n in {names[m] for m in makers}] for makers in net.makers]
    assert [len(found) for found in filed] == [1, 1]
    (first,), (second,) = filed
    assert sorted(second.argsort()[:3].tolist()) == [2, 3, 5]
    assert math.isclose(float(first.mean()), 1.0, rel_tol=1e-5), "a share of the group's mean, so that groups compare"
    assert float(first.min()) > 0.3
