"""What stages leave in their run: scores on the test split, cost and weights of every float one, and texts as files."""

from __future__ import annotations

from torch import nn

from pipeline.data.checkpoint import save_weights
from pipeline.data.dataset import Dataset
from pipeline.stage import Context
from pipeline.training.cost import cost
from pipeline.training.fit import predict


def record(module: nn.Module, data: Dataset, ctx: Context) -> None:
    """Log the task's scores, macs and parameters; save weights.npz to the stage's folder."""
    found = data.task.scores(predict(module, data, data.x_test), data.test_examples())
    price = cost(module, data.input_shape)
    ctx.log.metrics({**found.values, "macs": price.macs, "parameters": price.parameters})
    ctx.log.file(save_weights(module, ctx.kept / "weights.npz"))
