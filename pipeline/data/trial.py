"""A model tried on two of its data's images, so that one that does not fit them is found before anything long."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.dataset import Dataset
from pipeline.errors import RecipeError
from pipeline.host.users_code import ANY_ERROR, frames_in, place_in, wrap_user_errors

# as autograd calls the steps of a forward pass
_SIGMOIDS = ("SigmoidBackward", "HardsigmoidBackward")
_MOVES = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Permute", "Transpose", "TBackward", "Clone", "Cat")


def try_inference(module: nn.Module, data: Dataset, name: str, loaded: bool) -> None:
    """RecipeError unless `module`, in eval mode, gives for images what their task needs; `loaded`: its weights come from a
    checkpoint."""
    with wrap_user_errors(f"{name} does not take the data's images, {data.input_shape} (C, H, W)"), torch.no_grad():
        y = module(_images(data))
    _require_outputs(y, data, name)
    if not torch.isfinite(y).all():
        raise RecipeError(
            f"{name} gives NaN or infinity for the data's images. Check that data.mean and data.std fit the raw "
            f"values{', and the weights in model.checkpoint' if loaded else ''}."
        )
    if data.task.answers_by_sign and y.min() >= 0 and _ends_in_sigmoid(module, data):
        raise RecipeError(
            f"{name} ends in a sigmoid, which is never below 0: outputs must be logits, and those above 0 are a yes. "
            "Leave the sigmoid out."
        )
    if not loaded and (wrong := data.task.wrong_outputs(y.numpy())):
        raise RecipeError(f"{name} {wrong}")


def try_training(module: nn.Module, data: Dataset, name: str) -> None:
    """RecipeError unless `module` can be trained: one forward and backward pass of a copy in training mode. Weights, batch
    norms' statistics and torch's random state stay as they are."""
    with (
        torch.random.fork_rng(devices=[]),
        torch.autograd.set_detect_anomaly(True, check_nan=False),  # on an error in backward, torch warns with forward's line
        warnings.catch_warnings(record=True) as warned,
        wrap_user_errors(f"{name} fails in training mode, with two of the data's images"),
    ):
        warnings.simplefilter("always")
        images = _images(data)
        y = copy.deepcopy(module).train()(images)
        _require_outputs(y, data, name, " in training mode")
        if not y.requires_grad:
            raise RecipeError(
                f"{name} can not be trained: no gradient leads from its outputs to a parameter. Look for torch.no_grad(), "
                "detach() and requires_grad = False."
            )
        try:
            data.task.loss()(images, y, torch.from_numpy(data.y_train[[0, -1]])).backward()  # type: ignore[no-untyped-call]
        except ANY_ERROR as e:
            if "modified by an inplace operation" not in str(e):
                raise
            # The warning's traceback starts at the program's first line: the model's part follows this file's.
            trace = "".join(str(w.message).rpartition(f'File "{__file__}"')[2] for w in warned)
            raise RecipeError(
                f"{name} can not be trained: a result{place_in(frames_in(trace))} that its gradient needs is later changed "
                "in place. Write x = x + 1, not x += 1 or x.add_(1), and no inplace=True."
            ) from e


def _ends_in_sigmoid(module: nn.Module, data: Dataset) -> bool:
    """Whether a sigmoid makes the outputs; what only moves values after it does not count. Values alone do not tell: small
    logits of two images may lie between 0 and 1, too."""
    try:
        step = module(_images(data)).grad_fn
    except ANY_ERROR:  # a forward for inference alone
        return False
    while step is not None and step.name().startswith(_MOVES):
        step = step.next_functions[0][0]
    return step is not None and step.name().startswith(_SIGMOIDS)


def _images(data: Dataset) -> Tensor:
    images = data.normalization.apply(data.x_train[[0, -1]]).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(images))


def _require_outputs(y: Any, data: Dataset, name: str, mode: str = "") -> None:
    shape = tuple(y.shape) if isinstance(y, Tensor) else ()
    if wanted := data.task.needs(data.input_shape, shape):
        raise RecipeError(f"{name} gives {shape or type(y).__name__} for two images{mode}, but {wanted}")
