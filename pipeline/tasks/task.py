"""What a task is: all that training, scoring and reporting must know of what a model is for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from pipeline.fixedpoint import dequantize
from pipeline.ir import Array, Tensor

if TYPE_CHECKING:
    from torch import Tensor as TorchTensor

    Loss = Callable[[TorchTensor, TorchTensor, TorchTensor], TorchTensor]
    """loss(inputs, outputs, labels): normalised inputs, for tasks that want them again, and for other networks' answers."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of how good answers are. `percent`: a fraction, shown in percent. `unit` is the labels' own. `tolerated` is
    how much worse int8 may be without a word, as a fraction of 1, or of the figure itself when `relative`."""

    name: str
    label: str
    higher_is_better: bool
    percent: bool = False
    unit: str = ""
    tolerated: float = 0.02
    relative: bool = False

    def show(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.percent else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"

    def lost(self, before: float, after: float) -> float:
        """How much worse `after` is; below 0 when it is better."""
        return before - after if self.higher_is_better else after - before

    def much_worse(self, before: float, after: float) -> bool:
        """Whether `after` is worse by more than sound quantization costs."""
        allowed = self.tolerated * (abs(before) if self.relative else 1.0)
        return self.lost(before, after) > allowed


@dataclass(frozen=True, slots=True)
class Scores:
    """How good answers were: every figure by its measure's name, and others; `tags` are words to find runs by."""

    values: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)


def _unread() -> Array:
    raise LookupError("these examples came without their inputs")


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What answers are judged by. `labels` (n, ...) as the task has them, None where nobody gave any; `inputs()` gives the
    normalised inputs, float32 (n, values), in the order (C, H, W)."""

    labels: Array | None
    inputs: Callable[[], Array] = _unread


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Labels as a data set has them, `train` and `test` examples in all; `names` are the recipe's data.classes and `stored`
    the file's `classes`. `where` begins every message."""

    where: str
    train: int
    test: int
    y_train: Array | None
    y_test: Array | None
    names: tuple[str, ...] | None = None
    stored: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A task made for its data, checked labels of both splits, and which training examples are to be used: bool (train,).
    `fitted` makes the task of the labels that are trained on, once they are known, where it takes something from them."""

    task: Task
    y_train: Array
    y_test: Array
    used: Array
    fitted: Callable[[Array], Task] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scatter:
    """A picture of a run: for each name, true values and the device's answers. `unit` is theirs."""

    points: Mapping[str, tuple[Array, Array]]
    unit: str
    caption: str


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """A picture of a run: how often which value of `label` came, for each group by its name."""

    groups: Mapping[str, Array]
    label: str
    caption: str


class TaskRecipe(Protocol):
    """The recipe's `[task]` table, whose keys are the fields. `labelled`: the data must have y_train and y_test."""

    kind: ClassVar[str]
    labelled: ClassVar[bool]

    def unused(self) -> Mapping[str, str]:
        """The settings, as "table.key", that do nothing under this task: why, as the end of "x is of no use "."""

    def made_for(self, given: Given) -> Labelled:
        """RecipeError when these are not a task's labels: what they look like, and what to say."""


class Task(Protocol):
    """A frozen dataclass; what a firmware's manifest keeps are its fields. Outputs are real numbers: a float model's own, or
    what `real` makes of int8 answers. Examples are on the first axis everywhere. `labelled`: scores need labels."""

    kind: ClassVar[str]
    labelled: ClassVar[bool]

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What the summary shows, in order. The first that scores have is their headline: it chooses the best epoch."""

    @property
    def classes(self) -> tuple[str, ...]:
        """What labels stand for, in order; empty where they are no names."""

    @property
    def reading(self) -> str:
        """How a device's answer is read, for who writes the program around it."""

    @property
    def ranked(self) -> bool:
        """Whether the largest output is the answer, so that answers of two devices can be compared by it."""

    @property
    def answers_by_sign(self) -> bool:
        """Whether an output above 0 is a yes, so that outputs that are never below 0 say nothing."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Which kinds of examples every split and calibration set shall have in the data's proportion; `group` of each."""

    def group(self, labels: Array) -> Array:
        """Index into `groups`, int64 (n,)."""

    def outputs(self, input_shape: tuple[int, int, int]) -> int:
        """How many values the model gives for an input of (C, H, W)."""

    def needs(self, input_shape: tuple[int, int, int], shape: tuple[int, ...]) -> str:
        """What the model must give for two examples, as the end of "gives ..., but "; "" when `shape` is right."""

    def wrong_outputs(self, outputs: Array) -> str:
        """What is wrong with an untrained model's outputs, as the end of a model's name and " "; "" if nothing."""

    def loss(self, label_smoothing: float = 0.0) -> Loss: ...

    def validation_loss(self, outputs: Array, examples: Examples) -> float:
        """The same without smoothing, of a whole split."""

    def distillation_loss(self, outputs: TorchTensor, teacher: TorchTensor, temperature: float) -> TorchTensor:
        """The loss against what another model gave."""

    def scores(self, outputs: Array, examples: Examples) -> Scores: ...

    def learned_nothing(self, values: Mapping[str, float]) -> str:
        """What scores say of a model that learned nothing, as the end of "the model "; "" when it did learn."""

    def picture(self, outputs: Array, examples: Examples) -> Scatter | Histogram | None:
        """What is drawn of a device's answers beside the scores, where there is something to see."""

    def checked_labels(self, y: Array, count: int, values: int) -> Array:
        """Labels of one's own for `count` examples, and a model that gives `values` numbers; RecipeError else."""


def headline(task: Task, values: Mapping[str, float]) -> Measure:
    """The measure that counts: the first of the task's that is among `values`."""
    return next((m for m in task.measures if m.name in values), task.measures[0])


def selection_key(task: Task, values: Mapping[str, float], loss: float) -> tuple[float, float]:
    """(headline, loss), turned so that the higher is the better."""
    measure = headline(task, values)
    return (1.0 if measure.higher_is_better else -1.0) * values[measure.name], -loss


def stored(part: Task | TaskRecipe) -> dict[str, Any]:
    """`kind` and fields, as recipes and manifests have them."""
    assert dataclasses.is_dataclass(part)
    return {"kind": part.kind, **{f.name: getattr(part, f.name) for f in dataclasses.fields(part)}}


def real(answers: Array, tensor: Tensor) -> Array:
    """Answers (n, ...) in a graph's `tensor`, int8 or real already, as real numbers: float32 (n, values), in the order that
    torch's model gives them, (C, H, W) for what the graph has channels last."""
    values = dequantize(answers, tensor.scale, tensor.zero_point) if answers.dtype == np.int8 else answers
    if len(tensor.shape) == 4:
        values = values.reshape(-1, *tensor.shape[1:]).transpose(0, 3, 1, 2)
    return np.asarray(values.reshape(len(answers), -1), np.float32)
