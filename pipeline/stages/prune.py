"""Structured pruning: whole channels go, so the model that is left is smaller and faster on any hardware."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from pipeline.data.dataset import Dataset
from pipeline.errors import PipelineError, RecipeError
from pipeline.stage import Context, FloatModel
from pipeline.stages._channels import Criterion, Groups, NotSafe, cut_all, find_groups, remove_channels
from pipeline.stages._cost import Cost, cost
from pipeline.stages._fit import Schedule, batch_of, cross_entropy, deterministic, fit
from pipeline.stages._record import record
from pipeline.strict import limits

_LEVELS = 200
_TAYLOR_IMAGES = 1024


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove the least important channels until at most `keep` of the MACs are left, in `steps` rounds, each followed by its
    share of `epochs` of fine-tuning. `scope` "layer" takes the same fraction everywhere, "global" compares importance
    across layers. Every layer keeps a multiple of `round_to` channels (fewer run slower on SIMD kernels), `min_channels`
    at least. Groups of layers that can not be cut safely stay whole and are named in `pruning.md`."""

    name: ClassVar[str] = "prune"
    consumes: ClassVar[type] = FloatModel
    produces: ClassVar[type] = FloatModel

    keep: float = limits(0.5, low=0.01, high=1.0)
    criterion: Criterion = "taylor"
    scope: Literal["layer", "global"] = "layer"
    steps: int = limits(2, low=1, high=100)
    round_to: int = limits(4, low=1, high=64)
    min_channels: int = limits(4, low=1, high=4096)
    epochs: int = limits(10, low=0, high=10_000)
    batch_size: int = limits(64, low=1, high=65_536)
    learning_rate: float = limits(1e-3, low=1e-8, high=10.0)

    def run(self, artifact: FloatModel, ctx: Context) -> FloatModel:
        module, data = copy.deepcopy(artifact.module), artifact.data
        before = cost(module, data.input_shape)
        whole: dict[str, str] = {}
        epoch = 0
        with deterministic(ctx.seed, module, data.input_shape):
            for step in range(1, self.steps + 1):
                target = math.floor(before.macs * self.keep ** (step / self.steps))
                module, left_whole = self.cut(module, data, target)
                whole.update(left_whole)
                epochs = self.epochs * step // self.steps - self.epochs * (step - 1) // self.steps
                if epochs:
                    schedule = Schedule(epochs, self.learning_rate, self.batch_size)
                    fit(module, data, schedule, cross_entropy(), ctx, stage=self.name, first_epoch=epoch)
                epoch += epochs
            record(module, data, ctx, self.name)
        after = cost(module, data.input_shape)
        ctx.log.metrics({"macs_before": before.macs, "parameters_before": before.parameters})
        ctx.log.metrics({"macs_kept": after.macs / max(1, before.macs)})
        ctx.log.text(report(before, after, whole), "pruning.md")
        return FloatModel(module, data, artifact.teacher or artifact.module)

    def cut(self, module: nn.Module, data: Dataset, target: int) -> tuple[nn.Module, Mapping[str, str]]:
        """A copy of `module` (in eval mode) with at most `target` MACs, and the groups that were left whole, with why."""
        if cost(module, data.input_shape).macs <= target:
            return module, {}
        example = batch_of(data, data.x_train[:2])
        if self.criterion == "taylor":
            _gradients(module, data, self.batch_size)
        groups = find_groups(module, example, self.criterion, self.round_to)
        module.zero_grad(set_to_none=True)
        removed = self._fewest(module, data, example, groups, target)
        for name, channels in removed.items():
            try:
                module = remove_channels(module, example, name, channels)
            except NotSafe as e:
                raise PipelineError(
                    f"prune: {name!r} could lose channels by itself but not together with the groups before it: {e}. Raise "
                    "prune.keep, or lower prune.steps, so that fewer are removed at a time."
                ) from e
        return module, groups.whole

    def _fewest(
        self, module: nn.Module, data: Dataset, example: Tensor, groups: Groups, target: int
    ) -> dict[str, list[int]]:
        """The removal of the lowest level that meets `target`, by bisection: MACs fall as the level rises."""

        def macs(level: int) -> int:
            return cost(cut_all(module, example, self._removed(groups, level)), data.input_shape).macs

        if not groups.importance or (least := macs(_LEVELS)) > target:
            total = cost(module, data.input_shape).macs
            reached = f"{least:,} MACs" if groups.importance else "no group of layers can lose channels"
            whole = "; ".join(f"{n}: {why}" for n, why in groups.whole.items()) or "none"
            raise RecipeError(
                f"prune.keep = {self.keep} can not be reached: {target:,} of now {total:,} MACs are wanted, but with every "
                f"layer at its minimum ({self.min_channels} channels, multiples of {self.round_to}) it is {reached}. Raise "
                f"keep, or lower min_channels or round_to. Left whole: {whole}."
            )
        low, high = 0, _LEVELS  # macs(low) > target >= macs(high)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if macs(middle) <= target else (middle, high)
        return self._given_back(module, data, example, self._removed(groups, high), groups, target)

    def _given_back(
        self,
        module: nn.Module,
        data: Dataset,
        example: Tensor,
        removed: Mapping[str, list[int]],
        groups: Groups,
        target: int,
    ) -> dict[str, list[int]]:
        """`removed` less what rounding to `round_to` took beyond `target`: block by block, the group that lost the largest
        share first. A block that does not fit never will, since the others only add to it."""
        kept = {name: list(channels) for name, channels in removed.items()}
        candidates = set(kept)
        while candidates:
            name = max(sorted(candidates), key=lambda n: len(kept[n]) / len(groups.importance[n]))
            dearest_first = sorted(kept[name], key=lambda c: -float(groups.importance[name][c]))
            fewer = {**kept, name: sorted(dearest_first[self.round_to :])}
            fewer = {n: channels for n, channels in fewer.items() if channels}
            if cost(cut_all(module, example, fewer), data.input_shape).macs > target:
                candidates.remove(name)
                continue
            kept = fewer
            candidates &= set(kept)
        return kept

    def _removed(self, groups: Groups, level: int) -> dict[str, list[int]]:
        """Channels to remove by group at `level` (of _LEVELS: all but the minimum)."""
        fraction = level / _LEVELS
        sizes = [len(scores) for scores in groups.importance.values()]
        lowest = torch.zeros(sum(sizes), dtype=torch.bool)
        lowest[torch.cat(list(groups.importance.values())).argsort(stable=True)[: round(fraction * sum(sizes))]] = True
        removed: dict[str, list[int]] = {}
        for (name, scores), low in zip(groups.importance.items(), torch.split(lowest, sizes), strict=True):
            channels = len(scores)
            wanted = int(low.sum()) if self.scope == "global" else round(channels * fraction)
            left = max(channels - wanted, self.min_channels)
            left = min(channels, math.ceil(left / self.round_to) * self.round_to)
            if left < channels:
                removed[name] = sorted(scores.argsort(stable=True)[: channels - left].tolist())
        return removed


def _gradients(module: nn.Module, data: Dataset, batch_size: int) -> None:
    """Gradients of the loss on training images, summed in `.grad`."""
    for i in range(0, min(_TAYLOR_IMAGES, len(data.y_train)), batch_size):
        x, y = batch_of(data, data.x_train[i : i + batch_size]), torch.from_numpy(data.y_train[i : i + batch_size])
        nn.functional.cross_entropy(module(x), y).backward()  # type: ignore[no-untyped-call]


def report(before: Cost, after: Cost, whole: Mapping[str, str]) -> str:
    """Markdown: each layer before and after, and what was left whole."""
    rows = [
        "| layer | channels | MACs | parameters |",
        "|---|--:|--:|--:|",
        f"| all | | {before.macs:,} -> {after.macs:,} | {before.parameters:,} -> {after.parameters:,} |",
    ]
    for b, a in zip(before.layers, after.layers, strict=True):
        figures = ((b.channels, a.channels), (b.macs, a.macs), (b.parameters, a.parameters))
        rows.append(f"| {b.name} | " + " | ".join(f"{x:,} -> {y:,}" for x, y in figures) + " |")
    rows += ["", "Left whole:", *(f"- {n}: {why}" for n, why in whole.items())] if whole else []
    return "\n".join(rows) + "\n"
