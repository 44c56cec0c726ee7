"""Structured pruning: whole channels go, so the model that is left is smaller and faster on any hardware."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from pipeline.artifacts import FloatModel
from pipeline.stage import Context, keep_text
from pipeline.strict import limits
from pipeline.target import Target
from pipeline.training.channels import Criterion


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove the least important channels until at most `keep` of the MACs are left, in `steps` rounds, each followed by its
    share of `epochs` of fine-tuning. `scope` "layer" takes the same fraction everywhere, "global" compares importance
    across layers. Every layer keeps a multiple of `round_to` channels (fewer run slower on SIMD kernels), `min_channels`
    at least. Groups of layers that can not be cut safely stay whole and are named in `pruning.md`."""

    name: ClassVar[str] = "prune"
    consumes: ClassVar[type] = FloatModel
    produces: ClassVar[type] = FloatModel
    gives_teacher: ClassVar[bool] = True

    keep: float = limits(0.5, low=0.01, high=1.0)
    criterion: Criterion = "taylor"
    scope: Literal["layer", "global"] = "layer"
    steps: int = limits(2, low=1, high=100)
    round_to: int = limits(4, low=1, high=64)
    min_channels: int = limits(4, low=1, high=4096)
    epochs: int = limits(10, low=0, high=10_000)
    batch_size: int = limits(64, low=1, high=65_536)
    learning_rate: float = limits(1e-3, low=1e-8, high=10.0)

    def unused(self, targets: Sequence[Target]) -> Mapping[str, str]:
        if self.epochs:
            return {}
        why = "with epochs = 0, which trains nothing. Leave it out, or give epochs."
        batches = () if self.criterion == "taylor" else ("batch_size",)  # taylor takes its gradients by batch
        return dict.fromkeys(("learning_rate", *batches), why)

    def run(self, artifact: FloatModel, ctx: Context) -> FloatModel:
        from pipeline.training.cost import cost
        from pipeline.training.cut import cut, report
        from pipeline.training.fit import Schedule, deterministic, fit
        from pipeline.training.record import record

        module, data = copy.deepcopy(artifact.module), artifact.data
        before = cost(module, data.input_shape)
        whole: dict[str, str] = {}
        epoch = 0
        with deterministic(ctx.seed, module, data.input_shape):
            for step in range(1, self.steps + 1):
                target = math.floor(before.macs * self.keep ** (step / self.steps))
                module, left_whole = cut(self, module, data, target, ctx.seed)
                whole.update(left_whole)
                epochs = self.epochs * step // self.steps - self.epochs * (step - 1) // self.steps
                if epochs:
                    schedule = Schedule(epochs, self.learning_rate, self.batch_size)
                    in_round = self._in_round(step, ctx)
                    best = fit(module, data, schedule, data.task.loss(), in_round, stage=self.name, first_epoch=epoch)
                    ctx.log.metrics({"best_epoch": best and epoch + best})  # of the last round; 0: as it was cut
                epoch += epochs
            record(module, data, ctx)
        after = cost(module, data.input_shape)
        ctx.log.metrics({"macs_before": before.macs, "parameters_before": before.parameters})
        ctx.log.metrics(
            {"macs_kept": after.macs / max(1, before.macs), "macs_asked": self.keep, "channels_multiple": self.round_to}
        )
        keep_text(report(before, after, whole), ctx, "pruning.md")
        return FloatModel(module, data, artifact.teacher or artifact.module)

    def _in_round(self, step: int, ctx: Context) -> Context:
        """`ctx`, whose progress says which round of fine-tuning it is."""
        words = f"{self.name}: round {step} of {self.steps}: epochs"
        return replace(ctx, progress=lambda _epochs, total: ctx.progress(words, total))
