"""Inputs of one's own, replayed on the device that a firmware folder was built for: `pipeline measure`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.artifacts import Firmware
from pipeline.data.dataset import labels as checked_labels
from pipeline.data.npz import MAX_BYTES, read_npz, readable
from pipeline.devices import open_device
from pipeline.devices.bench import require_bench
from pipeline.devices.board.board import Board
from pipeline.errors import MismatchError, RecipeError
from pipeline.evaluate import Scores, scores
from pipeline.evidence import BitExact
from pipeline.firmware.folder import CompiledModel, load_firmware
from pipeline.fixedpoint import quantize
from pipeline.ir import Array, Tensor
from pipeline.measurement.board import Measurement
from pipeline.measurement.kind import Kind
from pipeline.power.model import energy_uj
from pipeline.preprocess import Normalization, Preprocess, to_int8
from pipeline.proof.session import device_mismatch, equal, host_oracles, rows, timed
from pipeline.proof.vectors import Vectors, golden
from pipeline.stage import Advance, Progress
from pipeline.target import Target

MAX_INPUTS = 16
Inputs = str | Path | Array | tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Result:
    """What the device did with the inputs. `outputs` are its raw answers, int8 (n, *shape) each; `kind` says whether the
    device is real ("measured") or emulated ("simulated"); `notes` what was done to the inputs first. Energy is estimated."""

    outputs: tuple[Array, ...]
    bit_exact: BitExact
    scores: Scores | None  # None without labels
    measurement: Measurement
    kind: Kind
    energy_uj: float
    notes: tuple[str, ...]

    @property
    def top1(self) -> float | None:
        """The fraction of right answers, as the device gave them."""
        return self.scores.accuracy if self.scores else None

    @property
    def latency_us_median(self) -> float:
        return statistics.median(self.measurement.latency_us)


def measure(
    firmware: Firmware | str | Path,
    inputs: Inputs | None = None,
    labels: Array | None = None,
    limit: int | None = None,
    *,
    target: Target | None = None,
    bench: Path | None = None,
    runs: int = 5,
    counter: Literal["plugin", "systick"] = "plugin",
    progress: Progress | None = None,
) -> Result:
    """Replay inputs on the target's device, compare every answer with the integer reference, then time the first one.

    `firmware` is a folder, or what `compile_model` returned; `inputs` (n, *input shape), one array for each model input, or
    an .npy file, or an .npz file with `x` (or `input_0`, `input_1`...) and labels in `y`; by default the vectors kept in
    the folder. `limit` takes the first so many. RecipeError for inputs that do not fit, DeviceError, MismatchError.
    """
    require_bench(bench)
    loaded, stored_target = load_firmware(firmware.folder if isinstance(firmware, Firmware) else firmware)
    target = target or stored_target
    given, found_labels, classes = _read(loaded.folder / "vectors.npz" if inputs is None else inputs)
    vectors, notes = _vectors(loaded, given, limit)
    n = len(vectors)
    y = labels if labels is not None else found_labels
    y = None if y is None else _fitting_labels(loaded, np.asarray(y), len(given[0]))[:n]
    with open_device(loaded, target, counter=counter, bench=bench) as device:
        answers = np.empty((n, rows(vectors.outputs).shape[1]), np.uint8)
        with (progress or _silent)("inputs replayed", n) as advance:
            for i, answer in enumerate(device.replay(rows(vectors.inputs))):
                answers[i] = answer.view(np.uint8)
                advance()
        right = equal(vectors, answers)
        if not right.all():
            raise _mismatch(loaded, target, vectors, right, device)
        measurement = timed(device, vectors, runs)
    oracles = {"tflm": None, "device": n, **host_oracles(loaded, vectors)}
    outputs = _split(answers, vectors)
    return Result(
        outputs=outputs,
        bit_exact=BitExact(n, min(k for k in oracles.values() if k is not None), oracles),
        scores=None if y is None else scores(y, outputs[0], _class_names(classes, outputs[0][0].size)),
        measurement=measurement,
        kind=measurement.kind,
        energy_uj=energy_uj(target.power, statistics.median(measurement.latency_us)),
        notes=notes,
    )


def save_outputs(result: Result, path: Path | None) -> None:
    """The device's raw answers as .npy; for a model with several outputs, one file each: answers_0.npy, answers_1.npy..."""
    if path is None:
        return
    for i, y in enumerate(result.outputs):
        name = path if len(result.outputs) == 1 else path.with_name(f"{path.stem}_{i}{path.suffix}")
        with name.open("wb") as file:
            np.save(file, y, allow_pickle=False)


@contextmanager
def _silent(_description: str, _total: int) -> Iterator[Advance]:
    yield lambda steps=1, note="": None


def _read(inputs: Inputs) -> tuple[tuple[Array, ...], Array | None, Array | None]:
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


def _vectors(firmware: Firmware, given: tuple[Array, ...], limit: int | None) -> tuple[Vectors, tuple[str, ...]]:
    """The inputs as the device takes them, with the reference's answers, and what was done to them."""
    graph, preprocess = firmware.model.graph, firmware.model.preprocess
    normalization = firmware.model.normalization if isinstance(firmware.model, CompiledModel) else None
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
    return golden(graph, tuple(ready), preprocess), tuple(notes)


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


def _fitting_labels(firmware: Firmware, y: Array, count: int) -> Array:
    graph = firmware.model.graph
    y = checked_labels(y, count, "labels")
    classes = graph[graph.outputs[0]].size
    if len(graph.outputs) != 1 or y.max() >= classes:
        raise RecipeError(
            f"labels go up to {int(y.max())}, but the model has {len(graph.outputs)} output(s), the first of {classes} "
            "values; they must be indexes into its only output."
        )
    return y


def _class_names(names: Array | None, count: int) -> tuple[str, ...]:
    return tuple(str(n) for n in names) if names is not None and names.shape == (count,) else tuple(map(str, range(count)))


def _split(answers: Array, vectors: Vectors) -> tuple[Array, ...]:
    """The answers' bytes (n, total) as one int8 array for each output."""
    sizes = [y[0].size for y in vectors.outputs]
    parts = np.split(answers.view(np.int8), np.cumsum(sizes)[:-1], axis=1)
    return tuple(part.reshape(y.shape) for part, y in zip(parts, vectors.outputs, strict=True))


def _mismatch(firmware: Firmware, target: Target, vectors: Vectors, right: Array, device: Board) -> MismatchError:
    if firmware.model.graph.sha256()[:16] == firmware.model_id:
        return device_mismatch(firmware, target, vectors, right, device)
    # Read back from a file that says some operators in several steps, the layers are not the firmware's own.
    wrong = np.flatnonzero(~right)
    return MismatchError(
        f"{device.where} answered {len(wrong)} of {len(right)} inputs with other bytes than the integer reference, first "
        f"input {wrong[0]}. Compile the model anew to learn which layer it is."
    )
