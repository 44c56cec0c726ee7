"""The quantised torch graph as oracle: what was read from it must be what it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from pipeline.data.models import resnet8
from pipeline.errors import GraphError
from pipeline.fixedpoint import quantize
from pipeline.importers.stored import Value
from pipeline.importers.torch.annotate import Int8Quantizer, convert_pt2e, prepare_pt2e
from pipeline.importers.torch.builder import Builder
from pipeline.importers.torch.float_graph import trace
from pipeline.importers.torch.importer import Imported, import_converted
from pipeline.proof.source_torch import prove_torch


class Turned(nn.Module):
    """Ends in a move that costs nothing where its result is stored as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.conv(x)).permute(0, 1, 3, 2)).permute(0, 2, 3, 1)


def proven(module: nn.Module, shape: tuple[int, ...], change: Callable[[Imported], Imported] = lambda model: model) -> int:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(16, *shape, generator=rng)
    graph = trace(module.eval(), x[:2])
    with torch.no_grad():
        prepared = prepare_pt2e(graph, Int8Quantizer(None))
        prepared(x)
        converted: GraphModule = convert_pt2e(prepared)
        imported = change(import_converted(converted, x[:1], "net"))
    t = imported.graph[imported.graph.inputs[0]]
    stored = np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1)).reshape(16, *t.shape)
    return prove_torch(imported, converted, x, quantize(stored, t.scale, t.zero_point))


def turned() -> nn.Module:
    torch.manual_seed(0)
    return Turned()


def test_networks_are_within_a_step_of_torch() -> None:
    torch.manual_seed(0)
    assert proven(resnet8.build((3, 32, 32), 10), (3, 32, 32)) == 1
    assert proven(turned(), (3, 8, 8)) <= 1


def test_transposed_weights_are_refused_with_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Builder.add_weights

    def transposed(b: Builder, node: Any, x: Any, w: np.ndarray, *more: Any) -> tuple[str, ...]:
        return right(b, node, x, w.transpose(0, 2, 1, 3), *more)

    monkeypatch.setattr(Builder, "add_weights", transposed)
    with pytest.raises(GraphError, match=r"'net' computes something else than the quantised torch model .*: conv2d 'conv'"):
        proven(turned(), (3, 8, 8))


def test_a_wrong_axis_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the image's axes are equally long: its shape is right."""
    right = Value.permuted

    def wrong(value: Value, axes: Sequence[int]) -> Value:
        return right(value, (*axes[:2], axes[3], axes[2]))

    monkeypatch.setattr(Value, "permuted", wrong)
    with pytest.raises(GraphError, match="than the quantised torch model"):
        proven(turned(), (3, 8, 8))


def test_a_wrong_input_is_refused() -> None:
    def shifted(model: Imported) -> Imported:
        graph, name = model.graph, model.graph.inputs[0]
        quant = graph[name].quant
        assert quant is not None
        moved = replace(graph[name], quant=replace(quant, zero_point=quant.zero_point + 3))
        return replace(model, graph=graph.with_ops(graph.ops, {name: moved}))

    with pytest.raises(GraphError, match=r"input 'x' \(.* there\)|conv2d 'conv'"):
        proven(turned(), (3, 8, 8), shifted)
