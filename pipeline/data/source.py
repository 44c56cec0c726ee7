"""The first artifact: an untrained or checkpointed torch module and its data. A user's own factory is found here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data import models
from pipeline.data.dataset import Dataset
from pipeline.data.npz import require_sha256
from pipeline.errors import RecipeError, did_you_mean
from pipeline.host.users_code import users_object, wrap_user_errors

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class ModelRecipe:
    """The recipe's `[model]` table. `factory` is a built-in model's name or "package.module:function", called as
    function((C, H, W), outputs, **arguments); `checkpoint` a .pt or .npz file, whose presence skips training;
    its sha256 is checked when it is given."""

    factory: str = "digits_cnn"
    checkpoint: Path | None = None
    checkpoint_sha256: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Source:
    """A module in eval mode on the CPU and the data it is for. `checkpoint` is the file its weights came from, or None: then
    it must be trained."""

    module: nn.Module
    data: Dataset
    checkpoint: Path | None = None


def require_model(recipe: ModelRecipe, folder: Path) -> None:
    """RecipeError when the built-in network or the checkpoint that `recipe` names is not there; nothing is loaded."""
    if ":" not in recipe.factory and recipe.factory not in models.names():
        raise RecipeError(
            f"model.factory = {recipe.factory!r} is not known.{did_you_mean(recipe.factory, models.names())} Use one of "
            f'{", ".join(models.names())}, or your own as "package.module:function".'
        )
    if recipe.checkpoint and not (path := folder / recipe.checkpoint.expanduser()).is_file():
        raise RecipeError(f"model.checkpoint {path} does not exist. Give the path of its .pt or .npz file.")


def load(
    recipe: ModelRecipe, data: Dataset, seed: int, folder: Path = Path(), code_folders: Sequence[Path] | None = None
) -> Source:
    """The model `recipe` describes, for `data`; relative paths start at `folder`, and modules are looked up in
    `code_folders` (without them: `folder`, the current one). RecipeError when the factory or the checkpoint does not fit."""
    import torch

    from pipeline.data.checkpoint import load_checkpoint
    from pipeline.data.trial import try_inference, try_training

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the initial weights
        module = build(recipe, data.input_shape, data.task.outputs(data.input_shape), folder, code_folders)
    path = None
    if recipe.checkpoint is not None:
        path = folder / recipe.checkpoint.expanduser()
        require_sha256(path, recipe.checkpoint_sha256, "model.checkpoint_sha256")
        load_checkpoint(module, path)
    module.eval()
    try_inference(module, data, f"model {recipe.factory!r}", bool(recipe.checkpoint))
    if recipe.checkpoint is None:
        try_training(module, data, f"model {recipe.factory!r}")
    return Source(module, data, path)


def build(
    recipe: ModelRecipe,
    input_shape: tuple[int, int, int],
    outputs: int,
    folder: Path = Path(),
    code_folders: Sequence[Path] | None = None,
) -> nn.Module:
    """The factory's module, untrained."""
    import torch

    require_model(recipe, folder)
    name = recipe.factory
    function: Any = models.find(name)
    if ":" in name:
        function = users_object("model.factory", name, code_folders or (folder.resolve(), Path.cwd()), "function")
    assert function is not None  # require_model
    _check_arguments(name, function, recipe.arguments)
    with wrap_user_errors(f"model.factory {name!r} failed for input {input_shape} (C, H, W) and {outputs} outputs"):
        module = function(input_shape, outputs, **recipe.arguments)
    if not isinstance(module, torch.nn.Module):
        raise RecipeError(f"model.factory {name!r} must return a torch.nn.Module, got {type(module).__name__}.")
    return module.to("cpu", torch.float32)


def _check_arguments(name: str, function: Any, arguments: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C have none; calling it tells
        return
    try:
        signature.bind((1, 1, 1), 2, **arguments)
    except TypeError as e:
        raise RecipeError(
            f"model.factory {name!r} can not be called as function(input_shape, outputs, **arguments) with arguments "
            f"{dict(arguments)}: {e}. Its signature is {signature}."
        ) from None
