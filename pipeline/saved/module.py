"""A torch module as what its factory does not give: the weights, and the plain attributes of each layer (channels, strides).

The module is built anew by the factory, and then made to be the saved one: a pruned layer has other shapes than the
factory's, and they are the arrays' own. What has other layers than the factory's can not be saved."""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.display import short
from pipeline.errors import RecipeError
from pipeline.ir import Array
from pipeline.saved.index import NotSavedError

Described = dict[str, dict[str, Any]]
"""By layer its `class`, the sha256 of that class's `code` where it is not torch's, and its `attributes`."""


def describe(module: nn.Module) -> Described:
    """Each layer, the module itself included, by its name in it."""
    return {name: _layer(m) for name, m in module.named_modules(remove_duplicate=False)}


def arrays_of(module: nn.Module) -> dict[str, Array]:
    """Every parameter and buffer by its name, those included that no state dict has."""
    return {name: tensor.detach().cpu().numpy() for name, _, _, tensor in _tensors(module)}


def require_same_layers(module: nn.Module, base: nn.Module) -> None:
    """NotSavedError when `base`, as its factory made it, can not be made to be `module`."""
    why = difference(describe(module), describe(base)) or _other(
        "tensor", [n for n, *_ in _tensors(module)], [n for n, *_ in _tensors(base)]
    )
    if why:
        raise NotSavedError(f"the model is no longer made of the layers that its factory gives: {why}")


def difference(saved: Mapping[str, Mapping[str, Any]], own: Described) -> str:
    """The first reason why one can not be made of the other; "" when there is none."""
    if why := _other("layer", [*saved], [*own]):
        return why
    for name, layer in own.items():
        where = repr(name) if name else "the whole model"
        if saved[name].get("class") != layer["class"]:
            return f"{where} is a {short(str(saved[name].get('class')), 80)}, the factory's a {layer['class']}"
        if saved[name].get("code") != layer["code"]:
            return f"the code of {layer['class']} is another by now"
        if why := _other(f"attribute of {where}", [*saved[name].get("attributes", ())], [*layer["attributes"]]):
            return why
    return ""


def rebuilt(base: nn.Module, described: Mapping[str, Any], arrays: Mapping[str, Array], where: str) -> nn.Module:
    """A copy of the factory's `base` with the layers' attributes and weights as they were saved. RecipeError, beginning with
    `where`, when they do not fit."""
    module = copy.deepcopy(base)
    try:
        why = difference(described, describe(module)) or _other("tensor", [*arrays], [n for n, *_ in _tensors(module)])
        if not why:
            _set_attributes(module, described)
    except (AttributeError, TypeError):
        raise RecipeError(f"{where} describes no layers; it is damaged. Run that stage again.") from None
    if why:
        raise RecipeError(
            f"{where} was made from another model than the recipe's: {why}. Give the recipe that the run saved."
        )
    made: dict[int, Tensor] = {}  # a tensor that two layers share stays shared
    keep = [tensor for _, _, _, tensor in _tensors(module)]
    for full, layer, name, tensor in list(_tensors(module)):
        array = arrays[full]
        if array.dtype != tensor.detach().numpy().dtype or array.ndim != tensor.ndim:
            raise RecipeError(
                f"{where}: {full!r} is {array.dtype}{array.shape}; the model has {tensor.dtype} of {tensor.ndim} axes."
            )
        if id(tensor) not in made:
            value = torch.from_numpy(array).clone()  # in torch's own memory: how that is aligned can change a last bit
            made[id(tensor)] = nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value
        setattr(layer, name, made[id(tensor)])
    del keep  # ids are of living tensors only
    return module


def _set_attributes(module: nn.Module, described: Mapping[str, Any]) -> None:
    for name, layer in module.named_modules():
        for key, value in described[name]["attributes"].items():
            own = getattr(layer, key)
            if _plain(own) != value:
                setattr(layer, key, _like(own, value))


def _layer(m: nn.Module) -> dict[str, Any]:
    cls = type(m)
    plain = {k: _plain(v) for k, v in vars(m).items() if not k.startswith("_")}
    return {
        "class": f"{cls.__module__}.{cls.__qualname__}",
        "code": _code(cls),
        "attributes": {k: v for k, v in plain.items() if v is not _NOT_PLAIN},
    }


def _code(cls: type) -> str:
    if cls.__module__.partition(".")[0] == "torch":
        return ""
    try:
        return hashlib.sha256(inspect.getsource(cls).encode()).hexdigest()
    except (OSError, TypeError):  # made without a file
        return ""


def _tensors(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """(full name, layer, name in it, tensor) of parameters, then of buffers."""
    for prefix, layer in module.named_modules():
        for name, tensor in (*layer._parameters.items(), *layer._buffers.items()):
            if tensor is not None:
                yield f"{prefix}.{name}" if prefix else name, layer, name, tensor


_NOT_PLAIN = object()


def _plain(value: Any) -> Any:
    """As JSON has it; _NOT_PLAIN for what it has not."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOT_PLAIN
    if isinstance(value, tuple | list):
        items = [_plain(v) for v in value]
        return _NOT_PLAIN if any(v is _NOT_PLAIN for v in items) else items
    return _NOT_PLAIN


def _like(own: Any, value: Any) -> Any:
    """`value` from JSON with tuples where `own` has them."""
    if not isinstance(own, tuple | list) or not isinstance(value, list):
        return value
    inner = own[0] if own else ()
    return type(own)(_like(inner, v) for v in value) if type(own) in (tuple, list) else tuple(value)


def _other(what: str, saved: list[str], own: list[str]) -> str:
    """The first name that only one side has."""
    for name in saved:
        if name not in own:
            return f"the factory's has no {what} {short(str(name), 80)!r}"
    return next((f"it lacks the {what} {short(name, 80)!r}" for name in own if name not in saved), "")
