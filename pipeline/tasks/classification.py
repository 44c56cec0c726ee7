"""Which class an example is of: one of several (a logit each), one of two (a single logit), or any number of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from pipeline.errors import RecipeError
from pipeline.ir import Array
from pipeline.tasks.class_names import MAX_CLASSES, class_indexes, class_names
from pipeline.tasks.task import Examples, Given, Labelled, Measure, Scores

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.tasks.task import Loss

MEASURES = (
    Measure("accuracy", "accuracy", higher_is_better=True, percent=True),
    Measure("worst_class_recall", "worst-class recall", higher_is_better=True, percent=True),
    Measure("f1_macro", "F1, mean of labels", higher_is_better=True, percent=True),
)

_NAMED = 20  # classes, in a sentence

Form = Literal["classes", "one_logit", "multi_label"]


@dataclass(frozen=True, slots=True)
class ClassificationRecipe:
    """`form` "classes": a logit for each class, the highest is the answer. "one_logit": two classes and a single logit,
    above 0 for the second. "multi_label": labels (n, classes) of 0 and 1, and a logit for each, above 0 where it holds."""

    form: Form = "classes"

    kind: ClassVar[str] = "classification"
    labelled: ClassVar[bool] = True

    def unused(self) -> Mapping[str, str]:
        return {}

    def made_for(self, given: Given) -> Labelled:
        assert given.y_train is not None
        assert given.y_test is not None
        read = _label_sets if self.form == "multi_label" else class_indexes
        y = read(given.y_train, given.train, f"{given.where}: y_train")
        y_test = read(given.y_test, given.test, f"{given.where}: y_test")
        if self.form == "multi_label":
            if y.shape[1] != y_test.shape[1]:
                raise RecipeError(f"{given.where}: y_train has {y.shape[1]} labels but y_test {y_test.shape[1]}.")
            highest = y.shape[1] - 1
        else:
            highest = int(max(y.max(), y_test.max()))
        classes = class_names(given, highest)
        if len(classes) < 2:
            raise RecipeError(f"{given.where}: there is only one class, {classes[0]!r}; a classifier needs two or more.")
        if self.form == "one_logit" and len(classes) != 2:
            raise RecipeError(
                f'{given.where}: there are {len(classes)} classes, but task.form = "one_logit" tells two apart. Say '
                'task.form = "classes".'
            )
        if self.form == "multi_label" and len(classes) != highest + 1:
            raise RecipeError(f"{given.where}: labels have {highest + 1} columns but there are {len(classes)} classes.")
        return Labelled(Classification(classes, self.form), y, y_test, np.ones(given.train, bool))


@dataclass(frozen=True, slots=True)
class Classification:
    """Labels are class indexes (n,) int64, or, for "multi_label", float32 (n, classes) of 0 and 1. Accuracy is the fraction
    of examples that are wholly right; recalls are by class."""

    classes: tuple[str, ...]
    form: Form = "classes"

    kind: ClassVar[str] = "classification"
    labelled: ClassVar[bool] = True

    @property
    def measures(self) -> tuple[Measure, ...]:
        return MEASURES

    @property
    def reading(self) -> str:
        if self.form == "one_logit":
            return f"The answer is `{self.classes[1]}` where the real value is above 0, else `{self.classes[0]}`."
        named = ", ".join(f"{i} `{name}`" for i, name in enumerate(self.classes[:_NAMED]))
        more = f" and {len(self.classes) - _NAMED:,} more" if len(self.classes) > _NAMED else ""
        rule = (
            "A label holds where its real value is above 0"
            if self.form == "multi_label"
            else "The largest value is the answer"
        )
        return f"{rule}: {named}{more}."

    @property
    def ranked(self) -> bool:
        return self.form == "classes"

    @property
    def answers_by_sign(self) -> bool:
        return self.form != "classes"

    @property
    def groups(self) -> tuple[str, ...]:
        return ("all",) if self.form == "multi_label" else self.classes

    def group(self, labels: Array) -> Array:
        return np.zeros(len(labels), np.int64) if self.form == "multi_label" else labels

    def outputs(self, input_shape: tuple[int, int, int]) -> int:
        return 1 if self.form == "one_logit" else len(self.classes)

    def needs(self, input_shape: tuple[int, int, int], shape: tuple[int, ...]) -> str:
        wanted = (2, self.outputs(input_shape))
        if shape == wanted:
            return ""
        if self.form == "one_logit":
            return 'task.form = "one_logit" needs logits of shape (2, 1).'
        one = ' For one logit say task.form = "one_logit".' if shape == (2, 1) and len(self.classes) == 2 else ""
        return f"the data's {len(self.classes)} classes need logits of shape {wanted}.{one}"

    def wrong_outputs(self, outputs: Array) -> str:
        if self.form != "classes" or outputs.min() < 0 or not np.allclose(outputs.sum(axis=1), 1, atol=1e-5):
            return ""
        return (
            "ends in a softmax: training needs the logits. Leave it out; the device's answer is the highest value either "
            "way."
        )

    def loss(self, label_smoothing: float = 0.0) -> Loss:
        import torch.nn.functional as F

        def classes(_inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
            return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)

        def yes_or_no(_inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
            wanted = labels.to(logits.dtype).reshape(logits.shape)
            return F.binary_cross_entropy_with_logits(logits, wanted * (1 - label_smoothing) + label_smoothing / 2)

        return classes if self.form == "classes" else yes_or_no

    def validation_loss(self, outputs: Array, examples: Examples) -> float:
        import torch

        assert examples.labels is not None
        logits = torch.from_numpy(outputs)
        return float(self.loss()(logits, logits, torch.from_numpy(examples.labels)))

    def distillation_loss(self, outputs: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        import torch.nn.functional as F

        if self.form != "classes":  # the same divergence, of each logit's two answers
            wanted, given = teacher / temperature, outputs / temperature
            entropy = F.binary_cross_entropy_with_logits(wanted, wanted.sigmoid())
            return (F.binary_cross_entropy_with_logits(given, wanted.sigmoid()) - entropy) * temperature**2
        wanted = F.log_softmax(teacher / temperature, dim=1)
        given = F.log_softmax(outputs / temperature, dim=1)
        return F.kl_div(given, wanted, reduction="batchmean", log_target=True) * temperature**2

    def scores(self, outputs: Array, examples: Examples) -> Scores:
        """Of ties between logits the lowest index counts; a logit of 0 is a no. A class without examples has no recall."""
        y = examples.labels
        assert y is not None
        outputs = outputs.reshape(len(y), -1)
        if self.form == "multi_label":
            return self._of_sets(outputs > 0, y > 0)
        answers = outputs.argmax(axis=1) if self.form == "classes" else (outputs[:, 0] > 0).astype(np.int64)
        right = answers == y
        return self._scores(right, {c: right[y == i] for i, c in enumerate(self.classes) if (y == i).any()})

    def _of_sets(self, answers: Array, y: Array) -> Scores:
        found = self._scores(
            (answers == y).all(axis=1), {c: answers[y[:, i], i] for i, c in enumerate(self.classes) if y[:, i].any()}
        )
        both, either = (answers & y).sum(axis=0), answers.sum(axis=0) + y.sum(axis=0)
        f1 = 2 * both[either > 0] / either[either > 0]
        return Scores({**found.values, "f1_macro": float(f1.mean()) if len(f1) else 0.0}, found.tags)

    def _scores(self, right: Array, by_class: Mapping[str, Array]) -> Scores:
        """Of whether each example is right, and, by class, whether each of its own was recognised."""
        accuracy = float(right.mean())
        recall = {name: float(found.mean()) for name, found in by_class.items()}
        low, high = wilson_interval(accuracy, len(right))
        worst = min(recall, key=lambda c: recall[c]) if recall else ""
        values = {"accuracy": accuracy, **({"worst_class_recall": recall[worst]} if recall else {})}
        values |= {f"recall_{name}": r for name, r in recall.items()}
        return Scores(
            {**values, "accuracy_low": low, "accuracy_high": high, "images": len(right)},
            {"worst_class": worst} if recall else {},
        )

    def learned_nothing(self, values: Mapping[str, float]) -> str:
        if self.form == "multi_label":
            return "recognises no label" if values.get("f1_macro") == 0 else ""
        classes = len(self.classes)
        return f"hardly beats guessing among {classes} classes" if values["accuracy"] < 1.5 / classes else ""

    def picture(self, outputs: Array, examples: Examples) -> None:
        """Recalls are drawn from the stages' figures."""

    def checked_labels(self, y: Array, count: int, values: int) -> Array:
        if self.form == "multi_label":
            y = _label_sets(y, count, "labels")
            if y.shape[1] != values:
                raise RecipeError(
                    f"labels have {y.shape[1]} columns, but the model gives {values} values; give one for each."
                )
            return y
        y = class_indexes(y, count, "labels")
        classes = 2 if self.form == "one_logit" else values
        if y.max() >= classes:
            raise RecipeError(
                f"labels go up to {int(y.max())}, but the model's output has {values} values; they must be indexes into it."
            )
        return y


def wilson_interval(fraction: float, n: int) -> tuple[float, float]:
    """(low, high): where the true fraction lies with 95 % confidence when `fraction` of n independent examples were right.
    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927), 209-212."""
    z2 = 1.959964**2
    middle = (fraction + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (fraction * (1 - fraction) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def _label_sets(y: Array, count: int, where: str) -> Array:
    """(n, labels) float32 of 0 and 1, as the loss wants them."""
    if y.ndim != 2 or len(y) != count or not 1 <= y.shape[1] <= MAX_CLASSES or y.dtype.kind not in "buif":
        raise RecipeError(
            f'{where} is {y.dtype}{y.shape}; under task.form = "multi_label" it must hold {count} rows, one an image, of '
            "a 0 or 1 for each label."
        )
    if not np.isin(y, (0, 1)).all():
        raise RecipeError(f"{where} holds other values than 0 and 1, which say of each label whether it holds.")
    return y.astype(np.float32)
