"""The first artifact: an untrained or checkpointed torch module and its data. A user's own factory is found here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data import models
from pipeline.data.dataset import Dataset
from pipeline.data.users_code import ANY_ERROR, failure, import_from, place
from pipeline.errors import PipelineError, RecipeError, did_you_mean

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class ModelRecipe:
    """The recipe's `[model]` table. `factory` is a built-in model's name or "package.module:function", called as
    function((C, H, W), classes, **arguments); `checkpoint` a .pt or .npz file, whose presence skips training."""

    factory: str = "digits_cnn"
    checkpoint: Path | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Source:
    """A module in eval mode on the CPU and the data it is for. `checkpoint` is the file its weights came from, or None: then
    it must be trained."""

    module: nn.Module
    data: Dataset
    checkpoint: Path | None = None


def load(recipe: ModelRecipe, data: Dataset, seed: int, folder: Path = Path()) -> Source:
    """The model `recipe` describes, for `data`; relative paths and modules are looked up in `folder` and below the current
    one. RecipeError when the factory or the checkpoint does not fit."""
    import torch

    from pipeline.data.checkpoint import load_checkpoint

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the initial weights
        module = build(recipe, data.input_shape, len(data.classes), folder)
    path = None
    if recipe.checkpoint is not None:
        path = folder / recipe.checkpoint.expanduser()
        load_checkpoint(module, path)
    module.eval()
    _try(module, recipe, data)
    return Source(module, data, path)


def build(recipe: ModelRecipe, input_shape: tuple[int, int, int], classes: int, folder: Path = Path()) -> nn.Module:
    """The factory's module, untrained."""
    import torch

    name = recipe.factory
    function = _user_factory(name, folder) if ":" in name else models.find(name)
    if function is None:
        raise RecipeError(
            f"model.factory = {name!r} is not known.{did_you_mean(name, models.names())} Use one of "
            f'{", ".join(models.names())}, or your own as "package.module:function".'
        )
    _check_arguments(name, function, recipe.arguments)
    try:
        module = function(input_shape, classes, **recipe.arguments)
    except PipelineError:
        raise
    except ANY_ERROR as e:
        raise RecipeError(
            f"model.factory {name!r} failed for input {input_shape} (C, H, W) and {classes} classes: {failure(e)}."
        ) from e
    if not isinstance(module, torch.nn.Module):
        raise RecipeError(f"model.factory {name!r} must return a torch.nn.Module, got {type(module).__name__}.")
    return module.to("cpu", torch.float32)


def _user_factory(name: str, folder: Path) -> Any:
    module_name, _, attribute = name.partition(":")
    folders = tuple(dict.fromkeys((folder.resolve(), Path.cwd())))
    try:
        module = import_from(module_name, folders)
    except ANY_ERROR as e:
        missing = e.name if isinstance(e, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            raise RecipeError(
                f"model.factory {name!r}: no module {missing!r}; looked in {', '.join(map(str, folders))} and the installed "
                "packages."
            ) from None
        if missing:  # the user's module exists, an import in it fails
            raise RecipeError(
                f"model.factory {name!r}: {module_name} needs {missing!r}, which is not installed{place(e)}."
            ) from e
        raise RecipeError(f"model.factory {name!r}: importing {module_name} failed: {failure(e)}.") from e
    function = getattr(module, attribute, None)
    if not callable(function):
        public = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__]
        raise RecipeError(
            f"model.factory {name!r}: {module.__file__} has no function {attribute!r}.{did_you_mean(attribute, public)} "
            f"It has: {', '.join(public) or 'none'}."
        )
    return function


def _check_arguments(name: str, function: Any, arguments: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C have none; calling it tells
        return
    try:
        signature.bind((1, 1, 1), 2, **arguments)
    except TypeError as e:
        raise RecipeError(
            f"model.factory {name!r} can not be called as function(input_shape, classes, **arguments) with arguments "
            f"{dict(arguments)}: {e}. Its signature is {signature}."
        ) from None


def _try(module: nn.Module, recipe: ModelRecipe, data: Dataset) -> None:
    """One forward pass on two images, so that a model that does not fit its data is found before anything long."""
    import torch

    images = data.normalization.apply(data.x_train[[0, -1]]).transpose(0, 3, 1, 2)
    try:
        with torch.no_grad():
            y = module(torch.from_numpy(np.ascontiguousarray(images)))
    except ANY_ERROR as e:
        raise RecipeError(
            f"model {recipe.factory!r} does not take the data's images, {data.input_shape} (C, H, W): {failure(e)}."
        ) from e
    shape = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
    if shape != (2, len(data.classes)):
        raise RecipeError(
            f"model {recipe.factory!r} gives {shape} for two images, but the data's {len(data.classes)} classes need logits "
            f"of shape (2, {len(data.classes)})."
        )
    if not torch.isfinite(y).all():
        raise RecipeError(
            f"model {recipe.factory!r} gives NaN or infinity for the data's images. Check that data.mean and data.std fit "
            f"the raw values{', and the weights in model.checkpoint' if recipe.checkpoint else ''}."
        )
    if recipe.checkpoint is None and bool((y >= 0).all()) and torch.allclose(y.sum(dim=1), torch.ones(2), atol=1e-5):
        raise RecipeError(
            f"model {recipe.factory!r} ends in a softmax: training needs the logits. Leave it out; the device's answer is "
            "the highest value either way."
        )
