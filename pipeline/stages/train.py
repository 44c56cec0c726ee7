"""Train a float model from scratch; with a checkpoint there is nothing to do but to record what it is."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.artifacts import FloatModel
from pipeline.data.source import Source
from pipeline.stage import Context
from pipeline.strict import limits


@dataclass(frozen=True, slots=True)
class Train:
    """The task's loss, cosine decay of the learning rate, the best epoch on the validation split kept. With a checkpoint,
    `epochs` is not used: the weights pass as they are and their scores are recorded."""

    name: ClassVar[str] = "train"
    consumes: ClassVar[type] = Source
    produces: ClassVar[type] = FloatModel

    epochs: int = limits(30, low=1, high=10_000)
    batch_size: int = limits(64, low=1, high=65_536)
    learning_rate: float = limits(3e-3, low=1e-8, high=10.0)
    weight_decay: float = limits(1e-2, low=0.0, high=1.0)
    label_smoothing: float = limits(0.1, low=0.0, high=0.5)
    optimizer: Literal["adamw", "sgd"] = "adamw"

    def run(self, artifact: Source, ctx: Context) -> FloatModel:
        from pipeline.training.fit import Schedule, deterministic, fit
        from pipeline.training.record import record

        module = copy.deepcopy(artifact.module)
        with deterministic(ctx.seed, module, artifact.data.input_shape):
            if artifact.checkpoint is None:
                schedule = Schedule(self.epochs, self.learning_rate, self.batch_size, self.optimizer, self.weight_decay)
                loss = artifact.data.task.loss(self.label_smoothing)
                best = fit(module, artifact.data, schedule, loss, ctx, stage=self.name, trained=False)
                ctx.log.metrics({"best_epoch": best})
            module.eval()
            record(module, artifact.data, ctx, self.name)
        return FloatModel(module, artifact.data)
