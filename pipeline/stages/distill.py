"""Teach the pruned model to answer as the model it was cut from (Hinton, Vinyals, Dean 2015)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pipeline.artifacts import FloatModel
from pipeline.errors import RecipeError
from pipeline.stage import Context, StagesOfRecipe
from pipeline.strict import limits
from pipeline.target import Target

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipeline.data.source import Source
    from pipeline.tasks.task import Loss, Task


@dataclass(frozen=True, slots=True)
class Distill:
    """loss = weight * the task's loss against the teacher's outputs + (1 - weight) * its loss against the labels. Of classes
    the former is temperature^2 * KL(teacher, student; logits / temperature). The teacher is the model before pruning; the
    best epoch on the validation split is kept."""

    name: ClassVar[str] = "distill"
    consumes: ClassVar[type] = FloatModel
    produces: ClassVar[type] = FloatModel

    epochs: int = limits(20, low=1, high=10_000)
    temperature: float = limits(4.0, low=0.1, high=100.0)
    weight: float = limits(0.7, low=0.0, high=1.0)
    batch_size: int = limits(64, low=1, high=65_536)
    learning_rate: float = limits(1e-3, low=1e-8, high=10.0)

    def unused(self, targets: Sequence[Target]) -> Mapping[str, str]:
        if self.weight:
            return {}
        return {"temperature": "with weight = 0, which leaves the teacher out. Leave it out, or give a weight above 0."}

    def check(self, recipe: StagesOfRecipe, source: Source | None, targets: Sequence[Target]) -> None:
        """RecipeError unless a stage before this one leaves a teacher."""
        before = recipe.stages[: recipe.stages.index(self)]
        if not any(getattr(stage, "gives_teacher", False) for stage in before):
            raise RecipeError(
                "distill has no teacher: it is the model before pruning, and no prune stage comes before it. Add a [prune] "
                "table to the recipe or remove [distill]."
            )

    def run(self, artifact: FloatModel, ctx: Context) -> FloatModel:
        from pipeline.training.fit import Schedule, deterministic, fit
        from pipeline.training.record import record

        if artifact.teacher is None:
            raise RecipeError(
                "distill has no teacher: it is the model before pruning, and nothing was pruned. Add a [prune] table to the "
                "recipe or remove [distill]."
            )
        student = copy.deepcopy(artifact.module)
        with deterministic(ctx.seed, artifact.teacher, artifact.data.input_shape):
            schedule = Schedule(self.epochs, self.learning_rate, self.batch_size)
            best = fit(
                student, artifact.data, schedule, self.loss(artifact.data.task, artifact.teacher), ctx, stage=self.name
            )
            ctx.log.metrics({"best_epoch": best})
            record(student, artifact.data, ctx)
        return FloatModel(student, artifact.data, artifact.teacher)

    def loss(self, task: Task, teacher: nn.Module) -> Loss:
        """The distillation loss against `teacher`, which stays in eval mode."""
        import torch

        hard = task.loss()

        def value(images: Tensor, outputs: Tensor, labels: Tensor) -> Tensor:
            with torch.no_grad():
                wanted = teacher(images)
            soft = task.distillation_loss(outputs, wanted, self.temperature)
            return self.weight * soft + (1 - self.weight) * hard(images, outputs, labels)

        return value
