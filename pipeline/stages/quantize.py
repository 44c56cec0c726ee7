"""Float model to int8 Graph: calibrated (PTQ) or trained on (QAT) with torchao's PT2E, then imported and checked layer by
layer against the float model. From here on the Graph is the model: its accuracy is the accuracy of record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pipeline.artifacts import FloatModel, QuantizedModel
from pipeline.data.calibration import MAX_SEED, CalibrationSet, Selection, find, select
from pipeline.data.dataset import Dataset
from pipeline.passes import optimize
from pipeline.stage import Context, StagesOfRecipe, keep_text
from pipeline.strict import limits
from pipeline.target import Target
from pipeline.tasks.task import headline, real

if TYPE_CHECKING:
    from pipeline.data.source import Source

_SQNR_IMAGES = 32


@dataclass(frozen=True, slots=True)
class Quantize:
    """`mode` "ptq" takes the ranges that the calibration images give; "qat" then trains `epochs` with the rounding in the
    loop; for both, batch norms are folded into the layers before them first. `calibration` names a set in `calibration/`;
    without one, `count` training images, the same number of each class, are taken, `seed` choosing which. `observer`:
    "minmax" covers every value seen, "histogram" cuts rare extremes off."""

    name: ClassVar[str] = "quantize"
    consumes: ClassVar[type] = FloatModel
    produces: ClassVar[type] = QuantizedModel

    mode: Literal["ptq", "qat"] = "ptq"
    calibration: str = ""
    count: int = limits(200, low=1, high=100_000)
    seed: int = limits(0, low=0, high=MAX_SEED)
    observer: Literal["minmax", "histogram"] = "minmax"
    epochs: int = limits(5, low=1, high=10_000)
    batch_size: int = limits(64, low=1, high=65_536)
    learning_rate: float = limits(1e-4, low=1e-8, high=10.0)

    def unused(self, targets: Sequence[Target]) -> Mapping[str, str]:
        if self.mode == "ptq":
            why = 'with mode "ptq", which trains nothing. Leave it out, or say mode = "qat".'
            idle = dict.fromkeys(("epochs", "batch_size", "learning_rate"), why)
        else:
            idle = {"observer": 'with mode "qat", whose ranges follow the training. Leave it out, or say mode = "ptq".'}
        if self.calibration:
            why = f'with calibration = {self.calibration!r}, which says which images. Leave it out, or say calibration = "".'
            idle |= dict.fromkeys(("count", "seed"), why)
        return idle

    def check(self, recipe: StagesOfRecipe, source: Source | None, targets: Sequence[Target]) -> None:
        """RecipeError when the calibration set is not known, or does not fit the data; GraphError when the model has no int8
        form."""
        if self.calibration:
            find(self.calibration, recipe.code_folders)
        if source is not None:
            from pipeline.importers.torch.importer import check_supported
            from pipeline.training.fit import batch_of

            check_supported(source.module, batch_of(source.data, source.data.x_train[:2]))
            self.select(source.data, recipe.code_folders)

    def run(self, artifact: FloatModel, ctx: Context) -> QuantizedModel:
        from pipeline.training import int8
        from pipeline.training.fit import Schedule, batch_of, deterministic, predict

        data, test = artifact.data, artifact.data.test_examples()
        chosen = self.select(data, ctx.code_folders)
        with deterministic(ctx.seed, artifact.module, data.input_shape):
            before = data.task.scores(predict(artifact.module, data, data.x_test), test).values
            prepared = int8.prepare(artifact.module, chosen, data, qat=self.mode == "qat", observer=self.observer)
            if self.mode == "qat":
                int8.train(Schedule(self.epochs, self.learning_rate, self.batch_size), prepared, data, ctx)
            expected = int8.float_values(prepared, batch_of(data, chosen.images[:_SQNR_IMAGES]))
            imported, converted = int8.to_graph(prepared, data, ctx.name)
        model = int8.quantized_model(optimize(imported.graph), data)
        source_max_lsb = int8.proven(imported, converted, model, chosen.images[:_SQNR_IMAGES])
        layers = int8.layer_sqnr(imported, expected, model, chosen.images[:_SQNR_IMAGES])
        answers = real(int8.answers(model, data.x_test, ctx), model.graph[model.graph.outputs[0]])
        after = data.task.scores(answers, test).values
        score = headline(data.task, after)
        worse = f"{score.name}_{'drop' if score.higher_is_better else 'rise'}"
        weights = [t for t in model.graph.used_constants().values() if t.dtype == "int8"]
        ctx.log.metrics(
            {
                **after,
                f"float_{score.name}": before[score.name],
                worse: score.lost(before[score.name], after[score.name]),
            }
        )
        ctx.log.metrics(
            {"macs": model.graph.macs(), "parameters": sum(t.size for t in model.graph.used_constants().values())}
        )
        ctx.log.metrics({"weight_bytes": sum(t.nbytes for t in weights), "sqnr_db_output": layers[model.graph.outputs[0]]})
        ctx.log.metrics({"sqnr_db_worst_layer": min(layers.values()), "source_max_lsb": source_max_lsb})
        ctx.log.params({"calibration_images": len(chosen.images), "calibration_sha256": chosen.sha256})
        ctx.log.tags({"graph_sha256": model.graph.sha256()})
        keep_text(int8.report(imported.graph, layers), ctx, "layers.md")
        return replace(model, float_module=artifact.module)

    def select(self, data: Dataset, folders: Sequence[Path] = ()) -> Selection:
        """The calibration images; RecipeError when the set does not fit the data."""
        if self.calibration:
            return select(find(self.calibration, folders), data, self.calibration)
        return select(CalibrationSet(data.source, count=self.count, seed=self.seed), data)
