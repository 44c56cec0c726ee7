"""Inputs of one's own, made what a device takes: read from files, shaped, normalised or quantised as in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.npz import MAX_BYTES, read_npz, readable
from pipeline.errors import RecipeError
from pipeline.fixedpoint import quantize
from pipeline.ir import Array, Graph, Tensor
from pipeline.preprocess import Normalization, Preprocess, to_int8

MAX_INPUTS = 16


Inputs = str | Path | Array | tuple[Array, ...]


def read_inputs(inputs: Inputs) -> tuple[tuple[Array, ...], Array | None, Array | None]:
    """(one array for each input, labels, class names); the last two only from an .npz file that has them."""
    if isinstance(inputs, tuple):
        return tuple(np.asarray(x) for x in inputs), None, None
    if isinstance(inputs, np.ndarray):
        return (inputs,), None, None
    path = Path(inputs)
    if path.suffix == ".npy":
        return (_read_npy(path),), None, None
    if path.suffix != ".npz":
        raise RecipeError(f"inputs {path} must be an .npy file, or an .npz file with an array `x` (and labels in `y`).")
    numbered = [f"input_{i}" for i in range(MAX_INPUTS)]
    arrays = read_npz(path, (), ("x", "y", "classes", *numbered))
    given = tuple(arrays[n] for n in numbered if n in arrays) or ((arrays["x"],) if "x" in arrays else ())
    if not given:
        raise RecipeError(f"inputs {path} has no array `x` (nor `input_0`, `input_1`... for a model with several inputs).")
    return given, arrays.get("y"), arrays.get("classes")


def _read_npy(path: Path) -> Array:
    with readable(str(path), "an .npy file of plain numbers", "Write it with numpy.save."):
        if path.stat().st_size > MAX_BYTES:
            raise RecipeError(f"{path} holds more than the {MAX_BYTES:,} bytes that are loaded at most.")
        with path.open("rb") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def ready_inputs(
    graph: Graph,
    preprocess: Preprocess | None,
    normalization: Normalization | None,
    given: tuple[Array, ...],
    limit: int | None,
) -> tuple[tuple[Array, ...], tuple[str, ...]]:
    """The first `limit` of the inputs as the device takes them, each (n, *shape), and what was done to them. `normalization`
    is that of the data set that the model was made for, None for another tool's. RecipeError for what does not fit."""
    if len(given) != len(graph.inputs):
        names = ", ".join(map(repr, graph.inputs))
        raise RecipeError(
            f"{len(given)} input arrays for a model with {len(graph.inputs)} inputs ({names}); give one for each."
        )
    if limit is not None and limit < 1:
        raise RecipeError(f"limit = {limit} is out of range; it must be at least 1.")
    n = len(given[0]) if given[0].ndim else 0
    if n == 0 or any(x.ndim == 0 or len(x) != n for x in given):
        raise RecipeError("the inputs hold no examples, or not equally many; the first axis counts the examples.")
    n = min(n, limit or n)
    notes: list[str] = []
    ready = []
    for i, (name, x) in enumerate(zip(graph.inputs, given, strict=True)):
        where = f"input {name!r}"
        x = _shaped(x[:n], graph[name], where)
        if normalization:
            values, note = _as_data(x, graph[name], preprocess, normalization, where)
        else:
            values, note = _as_taken(x, graph[name], preprocess if i == 0 else None, where)
        ready.append(values)
        notes += [note] if note else []
    return tuple(ready), tuple(notes)


def _shaped(x: Array, t: Tensor, where: str) -> Array:
    """`x` (n, *t.shape). Axes of size 1 may be left out. RecipeError for another shape, and for values that are none."""
    if [d for d in x.shape[1:] if d != 1] != [d for d in t.shape if d != 1]:
        want = ", ".join(map(str, t.shape))
        raise RecipeError(f"{where} takes examples of shape ({want}), channels last; got {x.shape[1:]}.")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise RecipeError(f"{where} holds NaN or infinity; remove or mend those examples.")
    return np.ascontiguousarray(x).reshape(len(x), *t.shape)


def _as_data(
    x: Array, t: Tensor, preprocess: Preprocess | None, normalization: Normalization, where: str
) -> tuple[Array, str]:
    """(values of the dtype that the device takes, what was done to get them): `x` is in the units of the data set that the
    model was made for, as its training images were, whatever type of number holds it."""
    if x.dtype.kind not in "iuf":
        raise RecipeError(f"{where} takes numbers, got {x.dtype}.")
    if preprocess is None and x.dtype == np.int8:  # made ready by somebody, as the folder's own vectors are
        return x, ""
    if preprocess is None:
        return to_int8(x, t, normalization, None), f"{where}: normalised and quantised as in training"
    wanted = np.dtype(preprocess.dtype)
    if x.dtype == wanted:
        return x, ""
    cast = x.astype(wanted) if x.min() >= np.iinfo(wanted).min and x.max() <= np.iinfo(wanted).max else None
    if cast is None or not np.array_equal(cast, x):
        raise RecipeError(
            f"{where} takes raw {wanted} values, as the data set had; those of the {x.dtype} array, from {x.min():g} to "
            f"{x.max():g}, are not all whole numbers from {np.iinfo(wanted).min} to {np.iinfo(wanted).max}."
        )
    return cast, f"{where}: {x.dtype} values taken as raw {wanted}"


def _as_taken(x: Array, t: Tensor, preprocess: Preprocess | None, where: str) -> tuple[Array, str]:
    """The same for a model of another tool: floats are real values, which its input's scale quantises."""
    wanted = preprocess.dtype if preprocess else "int8"
    if x.dtype == np.dtype(wanted):
        return x, ""
    if preprocess and not preprocess.is_offset:
        raise RecipeError(f"{where} takes raw {wanted} values, which the firmware turns into int8 itself; got {x.dtype}.")
    note = ""
    if x.dtype.kind == "f":
        x = quantize(x, t.scale, t.zero_point)
        note = f"{where}: float values quantised with scale {t.scale:g} and zero point {t.zero_point}"
    elif x.dtype not in (np.uint8, np.int8):
        raise RecipeError(f"{where} takes {wanted} values (or float ones, to be quantised), got {x.dtype}.")
    if x.dtype == np.dtype(wanted):
        return x, note
    shifted = x ^ np.array(0x80, np.uint8).view(x.dtype)  # -128 for bytes, modulo 256
    note = (
        note or f"{where}: {x.dtype} values shifted by {'-128' if wanted == 'int8' else '+128'}, as the model takes {wanted}"
    )
    return shifted.view(wanted), note
