"""Inputs of one's own, replayed on the device that a firmware folder was built for: `pipeline measure`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.artifacts import Firmware
from pipeline.data.dataset import labels as checked_labels
from pipeline.data.inputs import Inputs, read_inputs, ready_inputs
from pipeline.devices.resolve import resolve_device
from pipeline.errors import RecipeError
from pipeline.evaluate import Scores, scores
from pipeline.evidence import BitExact
from pipeline.firmware.folder import CompiledModel, load_firmware
from pipeline.ir import Array
from pipeline.measurement.board import Measurement
from pipeline.measurement.kind import Kind
from pipeline.power.model import energy_uj
from pipeline.proof.session import replay
from pipeline.proof.vectors import Vectors, golden
from pipeline.stage import Advance, Progress
from pipeline.target import Target
from pipeline.target import load as load_target
from pipeline.target import names as target_names


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
    loaded, stored_target = load_firmware(firmware.folder if isinstance(firmware, Firmware) else firmware)
    target = target or _flashed_as_here(stored_target)
    device = resolve_device(target, bench)
    device.require()
    given, found_labels, classes = read_inputs(loaded.folder / "vectors.npz" if inputs is None else inputs)
    model = loaded.model
    normalization = model.normalization if isinstance(model, CompiledModel) else None
    ready, notes = ready_inputs(model.graph, model.preprocess, normalization, given, limit)
    vectors = golden(model.graph, ready, model.preprocess)
    n = len(vectors)
    y = labels if labels is not None else found_labels
    y = None if y is None else _fitting_labels(loaded, np.asarray(y), len(given[0]))[:n]
    session = replay(loaded, device, vectors, progress or _silent, what="inputs", runs=runs, counter=counter)
    outputs, measurement = _split(session.answers, vectors), session.measurement
    return Result(
        outputs=outputs,
        bit_exact=session.bit_exact,
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


def _flashed_as_here(stored: Target) -> Target:
    """With the flash command of this computer's own file for that target, if there is one: a folder names none."""
    if stored.name not in target_names():
        return stored
    return replace(stored, device=replace(stored.device, flash=load_target(stored.name).device.flash))


@contextmanager
def _silent(description: str, total: int) -> Iterator[Advance]:
    yield lambda steps=1, note="": None


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
