"""A loss of the user's, in place of the task's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.data.dataset import Dataset
from pipeline.errors import RecipeError
from pipeline.host.users_code import users_object, wrap_user_errors
from pipeline.training.fit import batch_of

if TYPE_CHECKING:
    from pipeline.tasks.task import Loss


def users_loss(name: str, folders: Sequence[Path]) -> Loss:
    """The user's function that `name`, "module:function", names: function(outputs, labels), a differentiable scalar."""
    function = users_object("train.loss", name, folders, "function")

    def value(_inputs: Tensor, outputs: Tensor, labels: Tensor) -> Tensor:
        with wrap_user_errors(
            f"train.loss {name!r} failed for outputs {tuple(outputs.shape)} and labels {tuple(labels.shape)}"
        ):
            found = function(outputs, labels)
        if not isinstance(found, Tensor) or found.dim() != 0:
            got = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise RecipeError(f"train.loss {name!r} must return a scalar tensor, such as a mean over the batch; got {got}.")
        return found

    return value


def try_loss(name: str, folders: Sequence[Path], module: nn.Module, data: Dataset) -> None:
    """RecipeError unless the loss can be taken, and a gradient of it, for two of the data's images."""
    loss = users_loss(name, folders)
    images, labels = batch_of(data, data.x_train[[0, -1]]), torch.from_numpy(data.y_train[[0, -1]])
    with torch.no_grad():
        outputs = module(images)
    outputs.requires_grad_()
    value = loss(images, outputs, labels)
    if not value.requires_grad or not bool(torch.isfinite(value)):
        why = "is no finite number" if value.requires_grad else "does not depend on the outputs: look for detach() or item()"
        raise RecipeError(f"train.loss {name!r} can not train a model: its value for two of the data's images {why}.")
