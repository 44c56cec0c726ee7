"""Weights from files: a torch state dict (.pt), the same as npz, or npz in Keras layout (docs/pretrained.md)."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.data.dataset import read_npz
from pipeline.errors import RecipeError, did_you_mean
from pipeline.ir import Array

_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_KERAS_ENDINGS = ("kernel", "depthwise_kernel", "bias", *_BATCH_NORM)


def load_checkpoint(module: nn.Module, path: Path) -> None:
    """Write the file's weights into `module`. RecipeError, naming the first array that does not fit."""
    if path.suffix not in (".pt", ".pth", ".npz"):
        raise RecipeError(f"model.checkpoint {path} must be a .pt, .pth or .npz file.")
    if not path.is_file():
        raise RecipeError(f"model.checkpoint {path} does not exist.")
    arrays = _arrays_of(path) if path.suffix == ".npz" else _state_dict_of(path)
    endings = {n.rpartition(".")[2] for n in arrays}
    if endings & {"kernel", "depthwise_kernel"} and endings <= set(_KERAS_ENDINGS):
        arrays = from_keras(module, arrays, path)
    _assign(module, arrays, path)


def save_weights(module: nn.Module, path: Path) -> Path:
    """The state dict as npz, which `checkpoint = ` reads again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {n: t.detach().cpu().numpy() for n, t in module.state_dict().items()}
    np.savez(path, **arrays)
    return path


def _arrays_of(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as file:
            names = file.files
    except (OSError, ValueError) as e:
        raise RecipeError(f"model.checkpoint {path} can not be read as an .npz file of plain arrays ({e}).") from None
    return read_npz(path, names)


def _state_dict_of(path: Path) -> dict[str, Array]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, ValueError, EOFError, KeyError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise RecipeError(
            f"model.checkpoint {path} can not be read as a state dict ({reason}). Save it with "
            "torch.save(model.state_dict(), path); whole pickled modules are refused, since loading one runs its code."
        ) from None
    for key in ("state_dict", "model_state_dict", "model"):  # what training scripts wrap it in
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(t, torch.Tensor) for t in loaded.values()):
        raise RecipeError(f"model.checkpoint {path} holds no state dict (names to tensors).")
    return {str(n).removeprefix("module."): t.detach().cpu().numpy() for n, t in loaded.items()}


def _assign(module: nn.Module, arrays: Mapping[str, Array], path: Path) -> None:
    own = module.state_dict()
    needed = [n for n in own if not n.endswith("num_batches_tracked")]
    missing = [n for n in needed if n not in arrays]
    unknown = [n for n in arrays if n not in own]
    if missing or unknown:
        name = (missing or unknown)[0]
        other = unknown if missing else needed
        verb = "lacks" if missing else "holds the unknown"
        raise RecipeError(
            f"model.checkpoint {path} {verb} {name!r}.{did_you_mean(name, other)} {len(missing)} of the model's "
            f"{len(needed)} arrays are missing, {len(unknown)} of the file's are unknown to it."
        )
    for name in needed:
        if tuple(arrays[name].shape) != tuple(own[name].shape):
            raise RecipeError(
                f"model.checkpoint {path}: {name!r} is {tuple(arrays[name].shape)} but the model needs "
                f"{tuple(own[name].shape)}; it was saved from a model of another size or with another number of classes."
            )
        if not np.isfinite(arrays[name]).all():
            raise RecipeError(f"model.checkpoint {path}: {name!r} holds NaN or infinity.")
    state = {n: torch.from_numpy(np.array(arrays[n])).to(own[n].dtype) for n in own if n in arrays}
    module.load_state_dict({**own, **state})


def from_keras(module: nn.Module, arrays: Mapping[str, Array], path: Path) -> dict[str, Array]:
    """Keras arrays under the module's names and in torch's layout.

    Layers are matched kind by kind (convolution, depthwise convolution, dense, batch norm), in the order of the number that
    ends a Keras layer's name with the order in which the module defines its own.
    """
    layers: dict[str, dict[str, Array]] = {}
    for name, a in arrays.items():
        layer, _, ending = name.rpartition(".")
        layers.setdefault(layer, {})[ending] = a
    theirs: dict[str, list[str]] = {}
    for layer in sorted(layers, key=_number):
        theirs.setdefault(_keras_kind(layers[layer], layer, path), []).append(layer)
    ours: dict[str, list[str]] = {}
    for name, m in module.named_modules():
        if kind := _torch_kind(m):
            ours.setdefault(kind, []).append(name)
    found: dict[str, Array] = {}
    for kind in sorted({*theirs, *ours}):
        if len(theirs.get(kind, [])) != len(ours.get(kind, [])):
            raise RecipeError(
                f"model.checkpoint {path} has {len(theirs.get(kind, []))} {kind} layers in Keras layout, the model "
                f"{len(ours.get(kind, []))}: they are not the same network."
            )
        for name, layer in zip(ours[kind], theirs[kind], strict=True):
            found.update({f"{name}.{n}": a for n, a in _torch_layout(kind, layers[layer]).items()})
    return found


def _number(layer: str) -> tuple[int, str]:
    """`conv2d_3.conv2d_3` -> 3; without a number, 0."""
    match = re.search(r"[_-](\d+)$", layer)
    return (int(match[1]) if match else 0), layer


def _keras_kind(layer: Mapping[str, Array], name: str, path: Path) -> str:
    if "gamma" in layer or "moving_mean" in layer:
        return "batch norm"
    if "depthwise_kernel" in layer:
        return "depthwise convolution"
    if "kernel" in layer and layer["kernel"].ndim in (2, 4):
        return "convolution" if layer["kernel"].ndim == 4 else "dense"
    raise RecipeError(f"model.checkpoint {path}: layer {name!r} holds {', '.join(layer)}, which is no known Keras layer.")


def _torch_kind(m: nn.Module) -> str:
    if isinstance(m, nn.Conv2d):
        return "depthwise convolution" if m.groups > 1 and m.groups == m.in_channels else "convolution"
    if isinstance(m, nn.Linear):
        return "dense"
    return "batch norm" if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) else ""


def _torch_layout(kind: str, layer: Mapping[str, Array]) -> dict[str, Array]:
    if kind == "batch norm":
        return {_BATCH_NORM[n]: a for n, a in layer.items()}
    out = {"bias": layer["bias"]} if "bias" in layer else {}
    if kind == "dense":
        return {"weight": layer["kernel"].T, **out}
    if kind == "convolution":
        return {"weight": layer["kernel"].transpose(3, 2, 0, 1), **out}  # HWIO -> OIHW
    h, w, c, multiplier = layer["depthwise_kernel"].shape  # -> (C * multiplier, 1, H, W)
    return {"weight": layer["depthwise_kernel"].transpose(2, 3, 0, 1).reshape(c * multiplier, 1, h, w), **out}
