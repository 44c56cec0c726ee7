"""What stages leave in their run: scores on the test split, cost and weights of every float one, and texts as files."""

from __future__ import annotations

from torch import nn

from pipeline.data.checkpoint import save_weights
from pipeline.data.dataset import Dataset
from pipeline.evaluate import Scores, scores
from pipeline.stage import Context
from pipeline.training.cost import cost
from pipeline.training.fit import predict


def record(module: nn.Module, data: Dataset, ctx: Context, stage: str) -> Scores:
    """Log accuracy, worst_class_recall, recall_<class>, macs and parameters; save `<stage>/weights.npz`."""
    result = scores(data.y_test, predict(module, data, data.x_test), data.classes)
    price = cost(module, data.input_shape)
    ctx.log.metrics({**result.metrics(), "macs": price.macs, "parameters": price.parameters})
    ctx.log.file(save_weights(module, ctx.folder / stage / "weights.npz"))
    return result
