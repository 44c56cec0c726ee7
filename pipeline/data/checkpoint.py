"""Weights from files: a torch state dict (.pt), the same as npz, or npz in Keras layout (docs/pretrained.md)."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.data.npz import check_size, read_npz
from pipeline.errors import PipelineError, RecipeError, did_you_mean
from pipeline.ir import Array

MAX_BYTES = 2**30
"""Of a checkpoint's arrays, uncompressed: a thousand times what a microcontroller holds."""

_SAVE = "Save the weights alone: torch.save(model.state_dict(), path)."
_BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_KERNELS = (
    ("kernel", 4, "convolution"),
    ("kernel", 2, "dense"),
    ("depthwise_kernel", 4, "depthwise convolution"),
)
"""Name and axes of the array that tells a Keras layer's kind."""
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
    hint = "Give a state dict: numpy.savez(path, **{n: t.numpy() for n, t in model.state_dict().items()})."
    return read_npz(path, optional=None, called=f"model.checkpoint {path}", hint=hint, max_bytes=MAX_BYTES)


def _state_dict_of(path: Path) -> dict[str, Array]:
    called = f"model.checkpoint {path}"
    try:
        check_size(path, called, MAX_BYTES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on damaged files
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except PipelineError:
        raise
    except OSError as e:
        raise RecipeError(f"{called} can not be read: {e.strerror or e}.") from None
    except Exception as e:  # on damaged bytes torch's unpickler raises nearly every error Python has
        if isinstance(e, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            reason = (
                "holds more than weights (a whole model, or objects of the script that saved it), and loading those would "
                "run code from the file"
            )
        else:
            reason = "can not be read as a state dict: it is damaged, or torch.save did not write it"
        raise RecipeError(f"{called} {reason}. {_SAVE}") from None
    for key in ("state_dict", "model_state_dict", "model"):  # what training scripts wrap it in
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(n, str) and _is_plain(t) for n, t in loaded.items()):
        raise RecipeError(f"{called} holds no state dict (names to dense tensors). {_SAVE}")
    if (size := sum(4 * t.numel() for t in loaded.values())) > MAX_BYTES:  # a view of few values may be of any size
        raise RecipeError(f"{called} holds {size:,} bytes of weights, more than the {MAX_BYTES:,} that are loaded at most.")
    return {n.removeprefix("module."): _array_of(t) for n, t in loaded.items()}


def _is_plain(value: object) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
        and value.device.type == "cpu"
    )


def _array_of(t: torch.Tensor) -> Array:
    array: Array = (t.float() if t.is_floating_point() else t).detach().numpy()  # numpy has no bfloat16
    return array


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
    values: dict[str, Array] = {}
    for name in (n for n in own if n in arrays):
        if tuple(arrays[name].shape) != tuple(own[name].shape):
            raise RecipeError(
                f"model.checkpoint {path}: {name!r} is {tuple(arrays[name].shape)} but the model needs "
                f"{tuple(own[name].shape)}; it was saved from a model of another size or with another number of classes."
            )
        if arrays[name].dtype.kind not in "iuf":
            raise RecipeError(f"model.checkpoint {path}: {name!r} is {arrays[name].dtype}; weights are real numbers.")
        with np.errstate(all="ignore"):  # found below
            values[name] = arrays[name].astype(own[name].numpy().dtype)
        if not np.isfinite(values[name]).all():
            raise RecipeError(f"model.checkpoint {path}: {name!r} holds NaN, infinity or a value beyond float32.")
    module.load_state_dict({**own, **{n: torch.from_numpy(a) for n, a in values.items()}})


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
    match = re.search(r"[_-](\d{1,9})$", layer)
    return (int(match[1]) if match else 0), layer


def _keras_kind(layer: Mapping[str, Array], name: str, path: Path) -> str:
    if set(layer) <= set(_BATCH_NORM):
        return "batch norm"
    for kernel, ndim, kind in _KERNELS:
        if set(layer) <= {kernel, "bias"} and kernel in layer and layer[kernel].ndim == ndim:
            return kind
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
