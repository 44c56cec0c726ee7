"""Models whose last operator only moves values: the SQNR of their output is that of what the move passes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recording import context
from torch import Tensor, nn

from pipeline.artifacts import FloatModel
from pipeline.data.dataset import DataRecipe, load
from pipeline.data.source import ModelRecipe
from pipeline.fixedpoint import dequantize
from pipeline.preprocess import to_int8
from pipeline.stages.quantize import Quantize
from pipeline.training.fit import batch_of


class Ends(nn.Module):
    """A convolution to `channels`, pooled to one value each, then `end`."""

    def __init__(self, end: str, channels: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, channels, 1))
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x).mean((2, 3), keepdim=self.end not in ("slice", "reversed"))
        match self.end:
            case "flatten":
                return y.flatten(1)
            case "view":
                return y.view(-1, y.shape[1])
            case "squeeze":
                return y.squeeze(-1).squeeze(-1)
            case "slice":
                return y[:, 2:12]
            case "reversed":
                return y.flip(1)
            case "permute":
                return y.permute(0, 2, 3, 1).reshape(-1, y.shape[1])
        raise AssertionError(self.end)


@pytest.mark.parametrize("end", ["flatten", "view", "squeeze", "slice", "reversed", "permute"])
def test_a_model_may_end_in_a_move(end: str, tmp_path: Path) -> None:
    data = load(DataRecipe(limit=300), 0)
    module = Ends(end, 12 if end == "slice" else 10).eval()
    ctx, log = context(tmp_path)
    model = Quantize(count=50).run(FloatModel(module, data), ctx)
    graph, images = model.graph, data.x_train[:64]
    (answer,) = graph.run(to_int8(images, graph[graph.inputs[0]], data.normalization, model.preprocess))
    y = graph[graph.outputs[0]]
    with torch.no_grad():
        wanted = module(batch_of(data, images)).numpy()
    got = dequantize(answer, y.scale, y.zero_point).reshape(wanted.shape)
    sqnr = 10 * np.log10(np.square(wanted).sum() / np.square(wanted - got).sum())
    assert log.metrics_["sqnr_db_output"] == pytest.approx(sqnr, abs=3.0)
    assert sqnr > 20


def test_a_built_in_model_with_a_flattened_head_is_unchanged(tmp_path: Path) -> None:
    """The figure of a model that ends in a layer is that layer's own."""
    from pipeline.data import source

    data = load(DataRecipe(limit=300), 0)
    ctx, log = context(tmp_path)
    Quantize(count=50).run(FloatModel(source.load(ModelRecipe(), data, 0).module.eval(), data), ctx)
    assert log.metrics_["sqnr_db_output"] > 20
