"""Which channels go: the fewest, and the least important, that meet a target of MACs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.dataset import Dataset
from pipeline.errors import PipelineError, RecipeError
from pipeline.host.users_code import wrap_user_errors
from pipeline.training.channels import Criterion, Groups, NotSafe, cut_all, find_groups, remove_channels, unfrozen
from pipeline.training.cost import Cost, cost
from pipeline.training.fit import batch_of

_LEVELS = 200
_TAYLOR_IMAGES = 2048


class CutSettings(Protocol):
    """What is cut, and how: the keys of a recipe's [prune], which say what they mean in stages/prune.py."""

    @property
    def keep(self) -> float: ...
    @property
    def criterion(self) -> Criterion: ...
    @property
    def scope(self) -> Literal["layer", "global"]: ...
    @property
    def round_to(self) -> int: ...
    @property
    def min_channels(self) -> int: ...
    @property
    def batch_size(self) -> int: ...


def cut(
    settings: CutSettings, module: nn.Module, data: Dataset, target: int, seed: int
) -> tuple[nn.Module, Mapping[str, str]]:
    """A copy of `module` (in eval mode) with at most `target` MACs, and the groups that were left whole, with why."""
    if cost(module, data.input_shape).macs <= target:
        return module, {}
    example = batch_of(data, data.x_train[:2])
    if settings.criterion == "taylor":
        gradients(module, data, settings.batch_size, seed)
    groups = find_groups(module, example, settings.criterion, settings.round_to)
    module.zero_grad(set_to_none=True)
    removed = _fewest(settings, module, data, example, groups, target)
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
    settings: CutSettings, module: nn.Module, data: Dataset, example: Tensor, groups: Groups, target: int
) -> dict[str, list[int]]:
    """The removal of the lowest level that meets `target`, by bisection: MACs fall as the level rises."""

    def macs(level: int) -> int:
        return cost(cut_all(module, example, _removed(settings, groups, level)), data.input_shape).macs

    names: dict[str, list[str]] = {}  # by reason, which may be long
    for name, why in groups.whole.items():
        names.setdefault(why, []).append(name)
    whole = "; ".join(f"{', '.join(found)}: {why}" for why, found in names.items()) or "none"
    if not groups.importance:
        raise RecipeError(
            f"prune.keep = {settings.keep} can not be reached: no group of layers can lose channels. Change what keeps "
            f"them whole, or remove [prune]. Left whole: {whole}."
        )
    if (least := macs(_LEVELS)) > target:
        total = cost(module, data.input_shape).macs
        raise RecipeError(
            f"prune.keep = {settings.keep} can not be reached: {target:,} of now {total:,} MACs are wanted, but with every "
            f"layer at its minimum ({settings.min_channels} channels, multiples of {settings.round_to}) it is {least:,} "
            f"MACs. Raise keep, or lower min_channels or round_to. Left whole: {whole}."
        )
    low, high = 0, _LEVELS  # macs(low) > target >= macs(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if macs(middle) <= target else (middle, high)
    return _given_back(settings, module, data, example, _removed(settings, groups, high), groups, target)


def _given_back(
    settings: CutSettings,
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
        fewer = {**kept, name: sorted(dearest_first[settings.round_to :])}
        fewer = {n: channels for n, channels in fewer.items() if channels}
        if cost(cut_all(module, example, fewer), data.input_shape).macs > target:
            candidates.remove(name)
            continue
        kept = fewer
        candidates &= set(kept)
    return kept


def _removed(settings: CutSettings, groups: Groups, level: int) -> dict[str, list[int]]:
    """Channels to remove by group at `level` (of _LEVELS: all but the minimum)."""
    fraction = level / _LEVELS
    sizes = [len(scores) for scores in groups.importance.values()]
    lowest = torch.zeros(sum(sizes), dtype=torch.bool)
    lowest[torch.cat(list(groups.importance.values())).argsort(stable=True)[: round(fraction * sum(sizes))]] = True
    removed: dict[str, list[int]] = {}
    for (name, scores), low in zip(groups.importance.items(), torch.split(lowest, sizes), strict=True):
        channels = len(scores)
        wanted = int(low.sum()) if settings.scope == "global" else round(channels * fraction)
        left = max(channels - wanted, settings.min_channels)
        left = min(channels, math.ceil(left / settings.round_to) * settings.round_to)
        if left < channels:
            removed[name] = sorted(scores.argsort(stable=True)[: channels - left].tolist())
    return removed


def gradients(module: nn.Module, data: Dataset, batch_size: int, seed: int) -> None:
    """Gradients of the loss on training images, drawn from all of them, summed in `.grad`; of frozen weights, too, which
    lose channels as others do."""
    loss = data.task.loss()
    module.zero_grad(set_to_none=True)  # the last fine-tuning batch left its own
    # Drawn, since a file may be sorted by class; in the file's order, so that all of a small one are summed as they stand.
    chosen = np.sort(np.random.default_rng(seed).permutation(len(data.y_train))[:_TAYLOR_IMAGES])
    with unfrozen(module):
        for i in range(0, len(chosen), batch_size):
            part = chosen[i : i + batch_size]
            x, y = batch_of(data, data.x_train[part]), torch.from_numpy(data.y_train[part])
            with wrap_user_errors("prune: the model gives no gradients in eval mode, which the taylor criterion needs"):
                loss(x, module(x), y).backward()  # type: ignore[no-untyped-call]


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
