"""Train a float model from scratch; with a checkpoint there is nothing to do but to record what it is."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.artifacts import FloatModel
from pipeline.data.source import Source
from pipeline.errors import RecipeError, did_you_mean
from pipeline.host.users_code import is_reference
from pipeline.stage import Context, StagesOfRecipe
from pipeline.strict import limits
from pipeline.target import Target

TASKS_OWN = "task"


@dataclass(frozen=True, slots=True)
class Train:
    """`loss` is "task", the task's own, or your function, "package.module:function", called as function(outputs, labels);
    `prune`, `distill` and QAT learn by the task's own in any case. Cosine decay of the learning rate, the best epoch on the
    validation split kept. With a checkpoint, `epochs` is not used: the weights pass as they are and their scores are
    recorded."""

    name: ClassVar[str] = "train"
    consumes: ClassVar[type] = Source
    produces: ClassVar[type] = FloatModel

    epochs: int = limits(30, low=1, high=10_000)
    batch_size: int = limits(64, low=1, high=65_536)
    learning_rate: float = limits(3e-3, low=1e-8, high=10.0)
    weight_decay: float = limits(1e-2, low=0.0, high=1.0)
    label_smoothing: float = limits(0.1, low=0.0, high=0.5)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    loss: str = TASKS_OWN

    def unused(self, targets: Sequence[Target]) -> Mapping[str, str]:
        if self.loss == TASKS_OWN:
            return {}
        return {"label_smoothing": f"with loss = {self.loss!r}, which takes the labels as they are. Leave it out."}

    def check(self, recipe: StagesOfRecipe, source: Source | None, targets: Sequence[Target]) -> None:
        """RecipeError when the loss is not known, or can not be taken for the data's images."""
        if self.loss == TASKS_OWN:
            return
        if not is_reference(self.loss):
            raise RecipeError(
                f"train.loss = {self.loss!r} is not known.{did_you_mean(self.loss, [TASKS_OWN])} Use {TASKS_OWN!r}, "
                'or your own function as "package.module:function".'
            )
        if source is not None and source.checkpoint is None:
            from pipeline.training.loss import try_loss

            try_loss(self.loss, recipe.code_folders, source.module, source.data)

    def run(self, artifact: Source, ctx: Context) -> FloatModel:
        from pipeline.training.fit import Schedule, deterministic, fit
        from pipeline.training.loss import users_loss
        from pipeline.training.record import record

        module = copy.deepcopy(artifact.module)
        with deterministic(ctx.seed, module, artifact.data.input_shape):
            if artifact.checkpoint is None:
                schedule = Schedule(self.epochs, self.learning_rate, self.batch_size, self.optimizer, self.weight_decay)
                own = self.loss != TASKS_OWN
                loss = users_loss(self.loss, ctx.code_folders) if own else artifact.data.task.loss(self.label_smoothing)
                best = fit(module, artifact.data, schedule, loss, ctx, stage=self.name, trained=False)
                ctx.log.metrics({"best_epoch": best})
            module.eval()
            record(module, artifact.data, ctx)
        return FloatModel(module, artifact.data)
