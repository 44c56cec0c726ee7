"""Numbers: one or more for each example. The model gives them standardised, so that each has the whole int8 range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pipeline.errors import RecipeError
from pipeline.ir import Array
from pipeline.strict import limits
from pipeline.tasks.task import Examples, Given, Labelled, Measure, Scatter, Scores

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.tasks.task import Loss

MEASURES = (
    Measure("r2", "R²", higher_is_better=True),
    Measure("mae", "MAE", higher_is_better=False, tolerated=0.05, relative=True),
    Measure("rmse", "RMSE", higher_is_better=False, tolerated=0.05, relative=True),
)

_MAX_OUTPUTS = 1000
_MAX_UNIT = 20  # characters
_PLOTTED = 4  # outputs, in the picture
_TRAINING = {
    "train.label_smoothing": 'under task.kind = "regression", whose labels are numbers. Leave it out.',
    "distill.temperature": 'under task.kind = "regression", whose answers are numbers. Leave it out.',
    "data.classes": 'under task.kind = "regression", which has none; task.names are what its outputs are called.',
}


@dataclass(frozen=True, slots=True)
class RegressionRecipe:
    """The model gives (label - mean) / std, one value for all outputs or one each; left out, those of the training examples.
    `mean = 0` and `std = 1` are for a checkpoint that answers in the labels' own units. `names` are what the outputs are
    called, and `unit` what their labels are in."""

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = limits(None, low=1e-30)
    names: tuple[str, ...] = ()
    unit: str = ""

    kind: ClassVar[str] = "regression"
    labelled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for text, longest in ((self.unit, _MAX_UNIT), *((n, 100) for n in self.names)):
            if not text.isprintable() or len(text) > longest:
                raise ValueError(f"the name or unit {text[:30]!r} must be at most {longest} printable characters.")
        if len(set(self.names)) != len(self.names):
            raise ValueError("names must differ from each other.")

    def unused(self) -> Mapping[str, str]:
        return _TRAINING

    def made_for(self, given: Given) -> Labelled:
        assert given.y_train is not None
        assert given.y_test is not None
        y = _numbers(given.y_train, given.train, f"{given.where}: y_train")
        y_test = _numbers(given.y_test, given.test, f"{given.where}: y_test")
        count = y.shape[1]
        if y_test.shape[1] != count:
            raise RecipeError(f"{given.where}: y_train has {count} numbers for each example but y_test {y_test.shape[1]}.")
        if self.names and len(self.names) != count:
            raise RecipeError(f"{given.where}: task.names names {len(self.names)} outputs but labels have {count}.")
        fitted = partial(self._fitted, where=given.where)
        return Labelled(fitted(y), y, y_test, np.ones(given.train, bool), fitted)

    def _fitted(self, y: Array, where: str) -> Regression:
        names = self.names or tuple(map(str, range(y.shape[1])))
        mean = self._one_each("mean", self.mean, y.mean(axis=0, dtype=np.float64))
        std = self._one_each("std", self.std, y.std(axis=0, dtype=np.float64))
        for name, s in zip(names, std, strict=True):
            if not s > 0:
                raise RecipeError(
                    f"{where}: y_train: the labels of output {name!r} are all the same in the training split; there is "
                    "nothing to learn."
                )
        return Regression(mean, std, names, self.unit)

    def _one_each(self, key: str, given: tuple[float, ...] | None, found: Array) -> tuple[float, ...]:
        values = given or tuple(map(float, found))
        if len(values) not in (1, len(found)):
            raise RecipeError(
                f"task.{key} has {len(values)} values but labels have {len(found)} numbers; give 1 or that many."
            )
        return values * len(found) if len(values) == 1 else values


@dataclass(frozen=True, slots=True)
class Regression:
    """Labels are float32 (n, outputs) in their own units, which are `outputs * std + mean` of the model's; scores are in
    them, and means over all outputs. R² is 0 for who always answers the mean, 1 for who is always right."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    names: tuple[str, ...]
    unit: str = ""

    kind: ClassVar[str] = "regression"
    labelled: ClassVar[bool] = True

    @property
    def measures(self) -> tuple[Measure, ...]:
        return (MEASURES[0], *(replace(m, unit=self.unit) for m in MEASURES[1:]))

    @property
    def classes(self) -> tuple[str, ...]:
        return ()

    @property
    def reading(self) -> str:
        """In the labels' units, with the digits that a float has."""
        unit = f" {self.unit}" if self.unit else ""
        each = (f"`{n}` = {s:.9g} * real + {m:.9g}{unit}" for n, m, s in zip(self.names, self.mean, self.std, strict=True))
        return f"What the answer says, of real values in order: {'; '.join(each)}."

    @property
    def ranked(self) -> bool:
        return False

    @property
    def answers_by_sign(self) -> bool:
        return False

    @property
    def groups(self) -> tuple[str, ...]:
        return ("all",)

    def group(self, labels: Array) -> Array:
        return np.zeros(len(labels), np.int64)

    def outputs(self, input_shape: tuple[int, int, int]) -> int:
        return len(self.names)

    def needs(self, input_shape: tuple[int, int, int], shape: tuple[int, ...]) -> str:
        wanted = (2, len(self.names))
        return "" if shape == wanted else f"the labels' {len(self.names)} numbers need outputs of shape {wanted}."

    def wrong_outputs(self, outputs: Array) -> str:
        return ""

    def loss(self, label_smoothing: float = 0.0) -> Loss:
        import torch
        import torch.nn.functional as F

        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return lambda _inputs, outputs, labels: F.mse_loss(outputs, (labels - mean) / std)

    def validation_loss(self, outputs: Array, examples: Examples) -> float:
        assert examples.labels is not None
        wanted = (examples.labels - np.asarray(self.mean)) / np.asarray(self.std)
        return float(np.square(outputs - wanted, dtype=np.float64).mean())

    def distillation_loss(self, outputs: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        import torch.nn.functional as F

        return F.mse_loss(outputs, teacher)

    def scores(self, outputs: Array, examples: Examples) -> Scores:
        """R² is left out where the labels of an output are all the same."""
        assert examples.labels is not None
        y = examples.labels.astype(np.float64)
        error = self._answers(outputs) - y
        mae, rmse = np.abs(error).mean(axis=0), np.sqrt(np.square(error).mean(axis=0))
        spread = y.std(axis=0)
        each = {"mae": mae, "rmse": rmse}
        if (spread > 0).all():
            each = {"r2": 1 - np.square(rmse / spread), **each}
        values = {name: float(v.mean()) for name, v in each.items()}
        if len(self.names) > 1:
            values |= {f"{m}_{n}": float(v) for m, vs in each.items() for n, v in zip(self.names, vs, strict=True)}
        return Scores({**values, "images": len(y)})

    def learned_nothing(self, values: Mapping[str, float]) -> str:
        return "hardly beats answering the mean of all labels" if values.get("r2", 1.0) < 0.05 else ""

    def picture(self, outputs: Array, examples: Examples) -> Scatter:
        assert examples.labels is not None
        answers = self._answers(outputs)
        points = {n: (examples.labels[:, i], answers[:, i]) for i, n in enumerate(self.names[:_PLOTTED])}
        return Scatter(points, self.unit, "What the device answers against what is true; on the line they are equal.")

    def checked_labels(self, y: Array, count: int, values: int) -> Array:
        y = _numbers(y, count, "labels")
        if y.shape[1] != values:
            raise RecipeError(f"labels have {y.shape[1]} numbers for each example, but the model gives {values}.")
        return y

    def _answers(self, outputs: Array) -> Array:
        """In the labels' units, float64."""
        answers: Array = outputs.reshape(len(outputs), -1) * np.asarray(self.std) + np.asarray(self.mean)
        return answers


def _numbers(y: Array, count: int, where: str) -> Array:
    """float32 (n, outputs)."""
    if y.dtype.kind not in "uif" or y.ndim not in (1, 2) or len(y) != count or not 1 <= y[0].size <= _MAX_OUTPUTS:
        raise RecipeError(
            f'{where} is {y.dtype}{y.shape}; under task.kind = "regression" it must hold {count} numbers, or {count} rows '
            f'of at most {_MAX_OUTPUTS:,}, one an example. For classes say [task] kind = "classification".'
        )
    with np.errstate(over="ignore"):
        y = y.reshape(count, -1).astype(np.float32)
    finite = np.isfinite(y).all(axis=1)
    if not finite.all():
        raise RecipeError(
            f"{where} holds NaN, infinity or a value beyond float32 (3.4e38), first for example {int(np.argmin(finite))}; "
            "remove or mend it."
        )
    return y
