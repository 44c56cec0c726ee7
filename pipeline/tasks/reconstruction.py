"""The input again: an autoencoder learns what is normal, and what it gives back badly is an anomaly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pipeline.errors import RecipeError, did_you_mean
from pipeline.ir import Array
from pipeline.tasks.class_names import class_indexes, class_names
from pipeline.tasks.task import Examples, Given, Histogram, Labelled, Measure, Scores

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.tasks.task import Loss

MEASURES = (
    Measure("auc", "AUC", higher_is_better=True),
    Measure("mse", "MSE of normal", higher_is_better=False, tolerated=0.1, relative=True),
    Measure("mse_anomalous", "MSE of anomalies", higher_is_better=True),
)

NORMAL, ANOMALOUS = "normal", "anomalous"


@dataclass(frozen=True, slots=True)
class ReconstructionRecipe:
    """All training examples are normal; y_test may say 1 of an anomaly, 0 of a normal example. `anomalous` names classes
    instead, of data whose labels are classes: they are left out of training, and are the anomalies of the test split."""

    anomalous: tuple[str, ...] = ()

    kind: ClassVar[str] = "reconstruction"
    labelled: ClassVar[bool] = False

    def unused(self) -> Mapping[str, str]:
        why = 'under task.kind = "reconstruction", which has no labels to learn. Leave it out.'
        idle = dict.fromkeys(("train.label_smoothing", "distill.temperature"), why)
        if self.anomalous:
            return idle
        return idle | {"data.classes": 'under task.kind = "reconstruction" without task.anomalous. Leave it out.'}

    def made_for(self, given: Given) -> Labelled:
        if self.anomalous:
            return self._without_classes(given)
        y = np.zeros(given.train, np.int64) if given.y_train is None else given.y_train
        if y.shape != (given.train,) or y.astype(bool).any():
            raise RecipeError(
                f'{given.where}: y_train says of training examples what is no 0, but under task.kind = "reconstruction" all '
                "are normal. Leave y_train out; or, where its labels are classes, name those that are anomalies: "
                'task.anomalous = ["..."].'
            )
        y_test = np.zeros(given.test, np.int64) if given.y_test is None else given.y_test
        y_test = _marks(y_test, given.test, f"{given.where}: y_test")
        return Labelled(Reconstruction(), np.zeros(given.train, np.int64), y_test, np.ones(given.train, bool))

    def _without_classes(self, given: Given) -> Labelled:
        if given.y_train is None or given.y_test is None:
            raise RecipeError(f"{given.where}: task.anomalous names classes, but there is no y_train or no y_test.")
        y = class_indexes(given.y_train, given.train, f"{given.where}: y_train")
        y_test = class_indexes(given.y_test, given.test, f"{given.where}: y_test")
        names = class_names(given, int(max(y.max(), y_test.max())))
        for name in self.anomalous:
            if name not in names:
                raise RecipeError(
                    f"task.anomalous: the data has no class {name!r}.{did_you_mean(name, names)} It has: "
                    f"{', '.join(names[:12])}."
                )
        chosen = [names.index(name) for name in self.anomalous]
        used = ~np.isin(y, chosen)
        if not used.any():
            raise RecipeError("task.anomalous names all classes of the training examples; none is left to learn from.")
        return Labelled(Reconstruction(), np.zeros(given.train, np.int64), np.isin(y_test, chosen).astype(np.int64), used)


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """The model gives as many values as its normalised input has. Labels are int64 (n,), 1 for anomalies. An example's score
    is the mean squared difference between the two; AUC is how often an anomaly's is above a normal one's, 0.5 by chance."""

    kind: ClassVar[str] = "reconstruction"
    labelled: ClassVar[bool] = False

    @property
    def measures(self) -> tuple[Measure, ...]:
        return MEASURES

    @property
    def classes(self) -> tuple[str, ...]:
        return ()

    @property
    def reading(self) -> str:
        return (
            "The answer is the input again: the mean of the squared differences of the real values says how unusual it is. "
            "Keep the int8 input before each call: inference overwrites it."
        )

    @property
    def ranked(self) -> bool:
        return False

    @property
    def answers_by_sign(self) -> bool:
        return False

    @property
    def groups(self) -> tuple[str, ...]:
        return (NORMAL,)

    def group(self, labels: Array) -> Array:
        return np.zeros(len(labels), np.int64)

    def outputs(self, input_shape: tuple[int, int, int]) -> int:
        return math.prod(input_shape)

    def needs(self, input_shape: tuple[int, int, int], shape: tuple[int, ...]) -> str:
        flat, alike = (2, math.prod(input_shape)), (2, *input_shape)
        return "" if shape in (flat, alike) else f"its input again is of shape {flat} or {alike}."

    def wrong_outputs(self, outputs: Array) -> str:
        return ""

    def loss(self, label_smoothing: float = 0.0) -> Loss:
        import torch.nn.functional as F

        return lambda inputs, outputs, _labels: F.mse_loss(outputs.flatten(1), inputs.flatten(1))

    def validation_loss(self, outputs: Array, examples: Examples) -> float:
        return float(self._errors(outputs, examples).mean())

    def distillation_loss(self, outputs: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        import torch.nn.functional as F

        return F.mse_loss(outputs, teacher)

    def scores(self, outputs: Array, examples: Examples) -> Scores:
        """AUC only where there are both kinds."""
        groups = self._by_kind(outputs, examples)
        values: dict[str, float] = {}
        if len(groups) == 2:
            values["auc"] = area_under_curve(groups[NORMAL], groups[ANOMALOUS])
        for name, errors in zip((NORMAL, ANOMALOUS), ("mse", "mse_anomalous"), strict=True):
            if name in groups:
                values[errors] = float(groups[name].mean())
        return Scores({**values, "images": len(outputs)})

    def learned_nothing(self, values: Mapping[str, float]) -> str:
        return "hardly tells anomalies from normal examples" if values.get("auc", 1.0) < 0.6 else ""

    def picture(self, outputs: Array, examples: Examples) -> Histogram:
        caption = "How far the device's answers are from their inputs: what is far to the right is an anomaly."
        return Histogram(self._by_kind(outputs, examples), "mean squared error of an example", caption)

    def checked_labels(self, y: Array, count: int, values: int) -> Array:
        return _marks(y, count, "labels")

    def _errors(self, outputs: Array, examples: Examples) -> Array:
        difference = outputs.reshape(len(outputs), -1) - examples.inputs()
        errors: Array = np.square(difference, dtype=np.float64).mean(axis=1)
        return errors

    def _by_kind(self, outputs: Array, examples: Examples) -> dict[str, Array]:
        """Each example's error, of those kinds that there are."""
        errors = self._errors(outputs, examples)
        y = np.zeros(len(errors), np.int64) if examples.labels is None else examples.labels
        return {name: errors[y == i] for i, name in enumerate((NORMAL, ANOMALOUS)) if (y == i).any()}


def area_under_curve(normal: Array, anomalous: Array) -> float:
    """The probability that a random anomaly's score is above a random normal one's, ties counting half (Mann-Whitney)."""
    ordered = np.sort(normal)
    below, up_to = (np.searchsorted(ordered, anomalous, side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(ordered)))


def _marks(y: Array, count: int, where: str) -> Array:
    """int64 (n,) of 0 and 1."""
    if y.dtype.kind not in "buif" or y.shape != (count,) or not np.isin(y, (0, 1)).all():
        raise RecipeError(
            f'{where} is {y.dtype}{y.shape}; under task.kind = "reconstruction" it must hold {count} marks, 1 for an '
            "anomaly and 0 for a normal example. Where labels are classes, name those that are anomalies: task.anomalous = "
            '["..."].'
        )
    return y.astype(np.int64)
