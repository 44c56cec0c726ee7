"""Removing whole channels from a torch module, group by group, each removal proven.

torch-pruning's dependency graph finds which layers must lose a channel together. It has been seen to couple channels
wrongly without an error (shortcuts by zero padding), so no removal is believed: the cut module must answer exactly as the
uncut one does with the removed channels' readers set to zero.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.pruner import function as cut

from pipeline.errors import first_line
from pipeline.host.users_code import ANY_ERROR

_IMPORTANCE: dict[Criterion, Callable[[], Any]] = {
    "magnitude": lambda: tp.importance.GroupMagnitudeImportance(p=2),
    "taylor": lambda: tp.importance.GroupTaylorImportance(),
    "bn_scale": lambda: tp.importance.BNScaleImportance(),
}
_ALL_ZERO: dict[Criterion, str] = {
    "magnitude": "all its weights are zero",
    "taylor": 'the loss has no gradient there: nothing was learned, or nothing is left to learn ("magnitude" needs none)',
    "bn_scale": "all scales of its batch norm are zero",
}


class NotSafe(Exception):
    """A group can not lose channels; the message says why."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Importance of each channel by group; a group is called by its first layer's name. `whole`: why a group is not cut."""

    importance: Mapping[str, Tensor]
    whole: Mapping[str, str]


@contextmanager
def unfrozen(module: nn.Module) -> Iterator[None]:
    """Every weight of `module` takes gradients inside. Those that the user froze are so again afterwards, by their names:
    pruning makes new parameters, which all take gradients."""
    frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
    try:
        for p in module.parameters():
            p.requires_grad_(p.is_floating_point())
        yield
    finally:
        for name, p in module.named_parameters():
            p.requires_grad_(name not in frozen)


def dependency_graph(module: nn.Module, example: Tensor) -> Any:
    """torch-pruning's graph of `module`, traced anew."""
    with unfrozen(module), warnings.catch_warnings():  # the trace follows gradients
        warnings.simplefilter("ignore")  # unwrapped parameters; the proof below catches what would matter
        return tp.DependencyGraph().build_dependency(module, example, verbose=False)


def find_groups(module: nn.Module, example: Tensor, criterion: Criterion, round_to: int) -> Groups:
    """Every group of layers that lose channels together, each tried on a copy first. For "taylor" the parameters must hold
    gradients."""
    try:
        graph = dependency_graph(module, example)
        found = list(graph.get_all_groups(root_module_types=[nn.modules.conv._ConvNd, nn.Linear]))
    except ANY_ERROR as e:  # it runs the user's forward: whatever that and torch-pruning raise
        return Groups({}, {"the whole model": f"torch-pruning can not trace it ({first_line(e)})"})
    if not found:
        return Groups({}, {"the whole model": "torch-pruning finds no layers in it"})
    names = {m: n for n, m in module.named_modules()}
    importance: dict[str, Tensor] = {}
    whole: dict[str, str] = {}
    for group in found:
        name = names[group[0].dep.target.module]
        try:
            _refuse_grouped(group)
            scores = _score(group, criterion)
            remove_channels(module, example, name, scores.argsort()[: min(round_to, len(scores) - 1)].tolist())
        except NotSafe as e:
            whole[name] = str(e)
        else:
            importance[name] = scores
    return Groups(importance, whole)


def _refuse_grouped(group: Any) -> None:
    for dep, _ in group:
        m = dep.target.module
        if isinstance(m, nn.modules.conv._ConvNd) and 1 < m.groups < m.out_channels:
            raise NotSafe(f"a convolution in {m.groups} groups hangs on it")


def _score(group: Any, criterion: Criterion) -> Tensor:
    channels = len(group[0].idxs)
    if channels < 2:
        raise NotSafe("it has one channel")
    if criterion == "random":
        return torch.rand(channels)
    try:
        scores = _IMPORTANCE[criterion]()(group)
        if scores is None:  # no layer of the kind that the criterion looks at, as bn_scale without a batch norm
            scores = _IMPORTANCE["magnitude"]()(group)
    except Exception as e:  # torch-pruning's coupling points outside of a layer
        raise NotSafe(f"torch-pruning couples its channels wrongly ({first_line(e)})") from e
    if scores is None or scores.shape != (channels,):
        raise NotSafe(f"its channels have no {criterion} importance")
    if not torch.isfinite(scores).all():  # shares of their mean
        raise NotSafe(f"its channels have no {criterion} importance, since {_ALL_ZERO[criterion]}")
    return torch.as_tensor(scores).detach().clone()


def remove_channels(module: nn.Module, example: Tensor, name: str, channels: Sequence[int]) -> nn.Module:
    """A copy of `module` (in eval mode) without these output channels of layer `name` and all that hangs on them. NotSafe,
    with the reason, unless the copy runs, keeps the output's shape and computes what it must."""
    smaller, silenced = copy.deepcopy(module), copy.deepcopy(module)
    with torch.no_grad():
        before = module(example)
    try:
        with unfrozen(smaller):
            group = _group(smaller, example, name, channels)
            _silence(silenced, smaller, group)
            group.prune()
        with torch.no_grad():
            after, expected = smaller(example), silenced(example)
    except NotSafe:
        raise
    except ANY_ERROR as e:  # the same, with layers that no longer fit
        raise NotSafe(f"the model no longer runs without {len(channels)} of its channels ({first_line(e)})") from e
    if after.shape != before.shape:
        raise NotSafe("it makes the model's output")
    if not torch.allclose(after, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max() + 1e-6)):
        raise NotSafe("the model without some of its channels computes something else: a layer reads channels that moved")
    return smaller


def cut_all(module: nn.Module, example: Tensor, removed: Mapping[str, Sequence[int]]) -> nn.Module:
    """A copy of `module` without the channels `removed` of each group; unproven, for trying out sizes."""
    smaller = copy.deepcopy(module)
    graph = dependency_graph(smaller, example)
    for name, channels in removed.items():
        layer = smaller.get_submodule(name)
        graph.get_pruning_group(layer, _output_cut(layer), list(channels)).prune()
    return smaller


def _group(module: nn.Module, example: Tensor, name: str, channels: Sequence[int]) -> Any:
    layer = module.get_submodule(name)
    graph = dependency_graph(module, example)
    group = graph.get_pruning_group(layer, _output_cut(layer), list(channels))
    if not graph.check_pruning_group(group):
        raise NotSafe("nothing would be left of a layer that hangs on it")
    return group


def _output_cut(layer: nn.Module) -> Callable[..., Any]:
    if isinstance(layer, nn.Linear):
        return cut.prune_linear_out_channels  # type: ignore[no-any-return]
    depthwise = isinstance(layer, nn.modules.conv._ConvNd) and layer.groups == layer.out_channels > 1
    return cut.prune_depthwise_conv_out_channels if depthwise else cut.prune_conv_out_channels  # type: ignore[no-any-return]


def _silence(module: nn.Module, twin: nn.Module, group: Any) -> None:
    """Set to zero, in `module`, the weights with which the group's layers in its `twin` read the group's channels."""
    names = {m: n for n, m in twin.named_modules()}
    with torch.no_grad():
        for dep, indexes in group:
            if dep.handler not in (cut.prune_conv_in_channels, cut.prune_linear_in_channels):
                continue
            reader: Any = module.get_submodule(names[dep.target.module])
            if getattr(reader, "transposed", False):
                reader.weight[indexes] = 0.0
            else:
                reader.weight[:, indexes] = 0.0


Criterion = Literal["magnitude", "taylor", "bn_scale", "random"]
