"""The training loop that train, prune, distill and quantize (QAT) share: deterministic, best epoch on validation kept."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.data.dataset import Dataset
from pipeline.data.trial import try_training
from pipeline.errors import PipelineError
from pipeline.host.users_code import wrap_user_errors
from pipeline.ir import Array
from pipeline.stage import Context
from pipeline.tasks.task import headline, selection_key
from pipeline.training.cost import cost

if TYPE_CHECKING:
    from pipeline.tasks.task import Loss

_BATCH = 256  # images, where nothing is learned
_WARM_UP = 0.05  # of all batches
_ROUNDING = 1e-6  # of a float32 sum, relative: sums are ordered by the place in a batch
_LARGE_MACS = 50_000_000
_MAX_THREADS = 4
_WORST = (-math.inf, -math.inf)  # of all selection keys


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up to `learning_rate`, then cosine decay to 0, over all batches of `epochs`."""

    epochs: int
    learning_rate: float
    batch_size: int = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 1e-4

    def factor(self, step: int, steps: int) -> float:
        """Of the learning rate at batch `step` of `steps`."""
        warm = max(1, round(_WARM_UP * steps))
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def thread_count(macs: int) -> int:
    """One for what fits a microcontroller: more threads gain little there, and on a busy machine they wait for each other.
    Fixed, because sums split over another number of threads round differently: the same seed, another firmware."""
    return 1 if macs < _LARGE_MACS else min(_MAX_THREADS, os.cpu_count() or 1)


@contextmanager
def deterministic(seed: int, module: nn.Module, input_shape: tuple[int, int, int]) -> Iterator[None]:
    """torch's randomness, algorithms and threads fixed inside, as they were outside afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(thread_count(cost(module, input_shape).macs))
            torch.use_deterministic_algorithms(True)
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)


def batch_of(data: Dataset, raw: Array) -> Tensor:
    """Raw NHWC images as the module takes them: normalised float32 NCHW."""
    return torch.from_numpy(np.ascontiguousarray(data.normalization.apply(raw).transpose(0, 3, 1, 2)))


def predict(module: nn.Module, data: Dataset, raw: Array) -> Array:
    """The model's outputs (n, ...) for raw images. RecipeError when the user's forward fails."""
    with torch.no_grad(), wrap_user_errors(f"the model fails in eval mode, with batches of {min(_BATCH, len(raw))} images"):
        parts = [module(batch_of(data, raw[i : i + _BATCH])).numpy() for i in range(0, len(raw), _BATCH)]
    return np.concatenate(parts)


def fit(
    module: nn.Module,
    data: Dataset,
    schedule: Schedule,
    loss: Loss,
    ctx: Context,
    *,
    stage: str,
    first_epoch: int = 0,
    trained: bool = True,
    set_mode: Callable[[bool], Any] | None = None,
) -> int:
    """Train `module` in place and leave it in eval mode with the weights of its best epoch on the validation split: the
    best headline score of the task, of equal ones the lowest loss. Its number, from 1; 0 when none beat the weights that
    came in, which then stay. Those of a module that is not `trained` yet do not compete: chance is no result to fall back
    on.

    `set_mode(training)` replaces train() and eval() for modules that have none. Logs train_loss, val_loss and val_<score>
    at step `first_epoch`, `first_epoch + 1`, ... RecipeError when the user's forward fails; PipelineError when the loss is
    no longer a number, or when the outputs no longer depend on the image.
    """
    if set_mode is None:
        try_training(module, data, f"{stage}: the model")
    switch = set_mode or module.train
    optimizer = _optimizer(module, schedule)
    batches = math.ceil(len(data.y_train) / schedule.batch_size)
    steps = schedule.epochs * batches
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.factor(step, steps))
    rng = np.random.default_rng(ctx.seed)
    switch(False)
    best, kept, number = _selection_key(module, data) if trained else _WORST, copy.deepcopy(module.state_dict()), 0
    with ctx.progress(f"{stage}: epochs", total=schedule.epochs) as advance:
        for epoch in range(schedule.epochs):
            switch(True)
            total = 0.0
            for chosen in np.array_split(rng.permutation(len(data.y_train)), batches):
                x = augment(data, batch_of(data, data.x_train[chosen]), rng)
                y = torch.from_numpy(data.y_train[chosen])
                with wrap_user_errors(f"{stage}: the model fails in training mode, with a batch of {len(x)} images"):
                    value = loss(x, module(x), y)
                    if not torch.isfinite(value):
                        raise _diverged(stage, epoch, schedule)
                    optimizer.zero_grad()
                    value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                decay.step()
                total += float(value.detach()) * len(chosen)
            switch(False)
            val_loss, scores = _validate(module, data)
            if not math.isfinite(val_loss):
                raise _diverged(stage, epoch, schedule)
            score = headline(data.task, scores)
            figures = {
                "train_loss": total / len(data.y_train),
                "val_loss": val_loss,
                f"val_{score.name}": scores[score.name],
            }
            ctx.log.metrics(figures, step=first_epoch + epoch)
            advance(1, f"loss {figures['train_loss']:.3f}, validation {score.show(scores[score.name])}")
            if (reached := selection_key(data.task, scores, val_loss)) > best:
                best, kept, number = reached, copy.deepcopy(module.state_dict()), epoch + 1
    module.load_state_dict(kept)
    if _ignores_images(module, data):
        raise _failed(stage, schedule, "nothing was learned: the model gives the same outputs for every validation image")
    return number


def _optimizer(module: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, schedule.learning_rate, momentum=0.9, nesterov=True, weight_decay=schedule.weight_decay
        )
    return torch.optim.AdamW(parameters, schedule.learning_rate, weight_decay=schedule.weight_decay)


def _validate(module: nn.Module, data: Dataset) -> tuple[float, Mapping[str, float]]:
    """(loss, scores) on the validation split."""
    outputs, examples = predict(module, data, data.x_val), data.validation_examples()
    return data.task.validation_loss(outputs, examples), data.task.scores(outputs, examples).values


def _selection_key(module: nn.Module, data: Dataset) -> tuple[float, float]:
    """On the validation split: the higher, the better."""
    loss, scores = _validate(module, data)
    return selection_key(data.task, scores, loss) if math.isfinite(loss) else _WORST


def _ignores_images(module: nn.Module, data: Dataset) -> bool:
    """Whether all validation images get the same outputs: dead ReLUs, which no gradient revives. (What is hard to learn
    still gives other outputs for other images.)"""
    if (data.x_val == data.x_val[:1]).all():
        return False
    outputs = predict(module, data, data.x_val)
    return bool(np.ptp(outputs, axis=0).max() <= _ROUNDING * np.abs(outputs).max())


def _diverged(stage: str, epoch: int, schedule: Schedule) -> PipelineError:
    return _failed(stage, schedule, f"the loss is no longer a number in epoch {epoch + 1} of {schedule.epochs}")


def _failed(stage: str, schedule: Schedule, what: str) -> PipelineError:
    return PipelineError(
        f"{stage}: {what}. Try a lower {stage}.learning_rate than {schedule.learning_rate:g}, for instance "
        f"{schedule.learning_rate / 10:g}, and check that data.mean and data.std fit the raw values."
    )


def augment(data: Dataset, x: Tensor, rng: np.random.Generator) -> Tensor:
    """Images shifted by up to `data.shift` pixels (edges repeated), each on its own, and flipped left to right by chance."""
    if data.shift:
        n, _, h, w = x.shape
        grown = F.pad(x, (data.shift,) * 4, mode="replicate")
        rows = torch.from_numpy(rng.integers(0, 2 * data.shift + 1, n))[:, None] + torch.arange(h)
        columns = torch.from_numpy(rng.integers(0, 2 * data.shift + 1, n))[:, None] + torch.arange(w)
        images = torch.arange(n)[:, None, None]
        x = grown.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
    if data.flip:
        mirrored = torch.from_numpy(rng.random(len(x)) < 0.5)[:, None, None, None]
        x = torch.where(mirrored, x.flip(3), x)
    return x
