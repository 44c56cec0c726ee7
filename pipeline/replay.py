"""Inputs of one's own, replayed on the device that a firmware folder was built for: `pipeline measure`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.artifacts import Firmware
from pipeline.data.inputs import Inputs, read_inputs, ready_inputs
from pipeline.devices.resolve import resolve_device
from pipeline.errors import RecipeError
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
from pipeline.tasks.class_names import stored_names
from pipeline.tasks.classification import Classification
from pipeline.tasks.task import Examples, Task, real


@dataclass(frozen=True, eq=False)
class Result:
    """What the device did with the inputs. `outputs` are its raw answers, int8 (n, *shape) each; `kind` says whether the
    device is real ("measured") or emulated ("simulated"); `notes` what was done to the inputs first; `scores` are those of
    `task`. Energy is estimated."""

    outputs: tuple[Array, ...]
    bit_exact: BitExact
    task: Task
    scores: Mapping[str, float] | None  # None without labels, where the task needs them
    measurement: Measurement
    kind: Kind
    energy_uj: float
    notes: tuple[str, ...]

    @property
    def top1(self) -> float | None:
        """The fraction of right answers, as the device gave them; None where answers are not right or wrong."""
        return self.scores.get("accuracy") if self.scores else None

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
    task = _task(loaded, classes)
    y = None if y is None else _fitting_labels(loaded, task, np.asarray(y), len(given[0]))[:n]
    session = replay(loaded, device, vectors, progress or _silent, what="inputs", runs=runs, counter=counter)
    outputs, measurement = _split(session.answers, vectors), session.measurement
    return Result(
        outputs=outputs,
        bit_exact=session.bit_exact,
        task=task,
        scores=_scores(loaded, task, vectors, outputs[0], y),
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


def _task(firmware: Firmware, names: Array | None) -> Task:
    """What the model is for: what its data set's task was, else classes; `names` are those that came with the labels."""
    model, graph = firmware.model, firmware.model.graph
    count = graph[graph.outputs[0]].size
    task = model.task if isinstance(model, CompiledModel) else None
    task = task or Classification(tuple(map(str, range(count))))
    if isinstance(task, Classification) and names is not None and names.shape == (len(task.classes),):
        return replace(task, classes=stored_names(names, "the inputs' file"))
    return task


def _fitting_labels(firmware: Firmware, task: Task, y: Array, count: int) -> Array:
    outputs = firmware.model.graph.outputs
    if len(outputs) != 1:
        raise RecipeError(
            f"the model has {len(outputs)} outputs; labels can be compared with those of a model with one only."
        )
    return task.checked_labels(y, count, firmware.model.graph[outputs[0]].size)


def _scores(firmware: Firmware, task: Task, vectors: Vectors, answers: Array, y: Array | None) -> Mapping[str, float] | None:
    """The inputs, for a task that asks for them, are those that the device took."""
    if y is None and task.labelled:
        return None
    graph = firmware.model.graph
    inputs = Examples(y, lambda: real(vectors.int8_inputs[0], graph[graph.inputs[0]]))
    return task.scores(real(answers, graph[graph.outputs[0]]), inputs).values


def _split(answers: Array, vectors: Vectors) -> tuple[Array, ...]:
    """The answers' bytes (n, total) as one int8 array for each output."""
    sizes = [y[0].size for y in vectors.outputs]
    parts = np.split(answers.view(np.int8), np.cumsum(sizes)[:-1], axis=1)
    return tuple(part.reshape(y.shape) for part, y in zip(parts, vectors.outputs, strict=True))
