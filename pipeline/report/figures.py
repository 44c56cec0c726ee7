"""What a run found: every figure with its kind, the data behind report.json, the terminal's table and the HTML page."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts import Firmware
from pipeline.display import byte_size, scaled
from pipeline.measurement.board import Measurement
from pipeline.measurement.kind import Kind
from pipeline.measurement.kinds import FORMAT, kinds
from pipeline.tasks import measures
from pipeline.tasks.task import Measure, Task, headline

if TYPE_CHECKING:
    from pipeline.artifacts import Measured, Package
    from pipeline.target import Target

KINDS: dict[Kind, str] = {
    "computed": "exactly, on this host",
    "measured": "on the device",
    "simulated": "in the emulator",
    "host": "on this computer, which stood in for the device",
    "estimated": "by a model",
}
"""In the order in which they are shown; they never share a row or a panel of a plot."""

MEASURES = measures()

ROWS: dict[str, str] = {
    **{name: m.label for name, m in MEASURES.items()},
    "macs": "MACs",
    "parameters": "parameters",
    "flash_bytes": "flash",
    "ram_bytes": "RAM",
    "latency_us_median": "latency",
    "energy_uj": "energy",
}
"""The figures of the summary table, in order. All others are in report.json and in MLflow."""

CLASS_LETTERS = 24
"""Of a class's name where room is short: in pictures and on the terminal. JSON and the page's table have it whole."""

_STAGE_OF = {"float": "train", "pruned": "prune", "distilled": "distill", "int8": "quantize"}


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class StageResult:
    """A finished stage. `figures` are its final ones, one per name; the history by epoch is in MLflow only. `loaded` means
    that nothing was trained: the weights came from a checkpoint."""

    name: str
    figures: tuple[Figure, ...]
    seconds: float
    loaded: bool = False

    @property
    def title(self) -> str:
        """What readers see; JSON and MLflow have the name."""
        return "checkpoint" if self.loaded else self.name

    @property
    def recalls(self) -> dict[str, Figure]:
        """By class, in the data set's order; empty where the stage has none."""
        return {f.name.removeprefix("recall_"): f for f in self.figures if f.name.startswith("recall_")}

    def json(self) -> dict[str, Any]:
        metrics = {f.name: _plain(f.value) for f in self.figures}
        return {
            "name": self.name,
            "metrics": metrics,
            "kinds": {f.name: f.kind for f in self.figures if metrics[f.name] is not None},
        }

    def value(self, name: str) -> float | None:
        return next((f.value for f in self.figures if f.name == name), None)


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator of the int8 graph: its place in the order of execution, the tensor it writes, constants in bytes (as the
    manifest of a firmware folder counts them: requantisation tables included), multiply-accumulates, bytes it writes."""

    index: int
    name: str
    op: str
    constant_bytes: int
    macs: int
    output_bytes: int


@dataclass(frozen=True, eq=False)
class Report:
    """One run on one target. `folder` is the run folder, `page` where `tracker` shows it. A run that stopped early has not
    `measured`; it may have a `built` package, and `next` is the command that goes on."""

    recipe: str
    recipe_toml: str
    target: Target
    run_id: str
    page: str
    folder: Path
    stages: tuple[StageResult, ...]
    measured: Measured | None
    seconds: float
    versions: Mapping[str, str]
    task: Task
    built: Package | None = None
    next: str = ""
    tracker: str = "MLflow"

    @property
    def package(self) -> Package | None:
        return self.measured.package if self.measured else self.built

    @property
    def firmware(self) -> Path | None:
        return self.package.folder if self.package else None

    @property
    def headline(self) -> Measure:
        """The task's figure that counts, of those that answers had: the device's, or those of the last stage."""
        values = self.measured.scores if self.measured else {f.name: f.value for s in self.stages for f in s.figures}
        return headline(self.task, values)

    def last(self, stage: str) -> StageResult | None:
        """The last of that name, since a recipe may have a stage twice; None where the run went through none."""
        return next((s for s in reversed(self.stages) if s.name == stage), None)

    def label(self, name: str) -> str:
        """What a figure's row is called."""
        unit = next((m.unit for m in self.task.measures if m.name == name), "")
        return f"{ROWS[name]}, {unit}" if unit else ROWS[name]

    def json(self) -> dict[str, Any]:
        """The content of report.json. `null` stands where a stage was left out or an oracle can not run on this machine."""
        scores = self._scores()
        on_device = _on_device(self.measured) if self.measured else {"bit_exact": None, "measurement": None, "kinds": {}}
        kind = self.measured.measurement.kind if self.measured else "computed"
        return {
            "format": FORMAT,
            "target": self.target.name,
            "run_id": self.run_id,
            "stages": [s.json() for s in self.stages],
            "task": self.task.kind,
            "headline": {"name": self.headline.name, "higher_is_better": self.headline.higher_is_better},
            **scores,
            **on_device,
            "kinds": {
                **{name: kinds(by_stage, "computed", device=kind) for name, by_stage in scores.items()},
                **on_device["kinds"],
            },
        }

    def _scores(self) -> dict[str, dict[str, Any]]:
        """By stage the accuracy of a classifier, or all scores of another task."""
        if self.task.kind == "classification":
            return {"accuracy": self.headlines()}
        shown = [m.name for m in self.task.measures]
        by_stage = {key: self.last(stage) for key, stage in _STAGE_OF.items()}
        found = {
            key: stage and {n: v for n in shown if (v := stage.value(n)) is not None} for key, stage in by_stage.items()
        }
        device = {n: v for n, v in self.measured.scores.items() if n in shown} if self.measured else None
        return {"scores": {**found, "device": device}}

    def headlines(self) -> dict[str, float | None]:
        """The task's headline after each stage, and on the device."""
        name = self.headline.name
        by_stage = {key: self.last(stage) for key, stage in _STAGE_OF.items()}
        found = {key: stage.value(name) if stage else None for key, stage in by_stage.items()}
        return {**found, "device": self.measured.scores[name] if self.measured else None}


def _on_device(measured: Measured) -> dict[str, Any]:
    """What report.json says of a measurement, with its kinds."""
    m, exact = measured.measurement, measured.bit_exact
    bit_exact = {"vectors": exact.vectors, "equal": exact.equal, "oracles": dict(exact.oracles)}
    measurement = {
        "clock": m.clock,
        "instructions": m.instructions,
        "cycles": m.cycles,
        "latency_us_median": statistics.median(m.latency_us),
        "energy_uj": measured.energy_uj,
        "energy_kind": measured.energy_kind,
        "ram_bytes": m.ram_bytes,
        "flash_bytes": measured.package.flash_bytes,
    }
    linked = isinstance(m, Measurement)  # a board's RAM is its firmware's, a computer's what the process took there
    sizes: dict[str, Kind] = {"flash_bytes": "computed", "ram_bytes": "computed" if linked else m.kind}
    agreement = _agreement(measured)
    return {
        "bit_exact": bit_exact,
        **agreement,
        "measurement": measurement,
        "kinds": {
            **kinds({"bit_exact": bit_exact, **agreement}, "computed"),
            "measurement": kinds(measurement, m.kind, energy_uj=measured.energy_kind or "estimated", **sizes),
        },
    }


def _agreement(measured: Measured) -> dict[str, Any]:
    """How far a Linux target's answers are from the integer reference; nothing where they must be equal."""
    a = measured.agreement
    if a is None:
        return {}
    d = a.differences
    return {"agreement": {"vectors": a.vectors, "top1": a.top1, "equal_values": d.equal, "max_lsb": d.max_lsb}}


def layers(package: Package) -> tuple[Layer, ...]:
    graph = package.model.graph
    if isinstance(package, Firmware):
        constants = package.layer_constant_bytes
    else:  # an engine computes its tables when it loads the model
        constants = tuple(sum(graph[n].nbytes for n in op.inputs if graph[n].data is not None) for op in graph.ops)
    return tuple(
        Layer(
            index=index,
            name=op.output,
            op=op.kind,
            constant_bytes=constants[index],
            macs=op.macs(graph),
            output_bytes=sum(graph[n].nbytes for n in op.outputs),
        )
        for index, op in enumerate(graph.ops)
    )


def _plain(value: float) -> float | int | None:
    """As JSON has it: whole numbers without a point, and no NaN."""
    if not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def show(name: str, value: float) -> str:
    """The figure for a reader, its unit taken from the name's: "97.2 %", "23.4 KiB", "1.24 ms"."""
    if name in MEASURES:
        return MEASURES[name].show(value)
    if name.endswith(("accuracy", "_recall")) or name.startswith(("accuracy", "recall_")):
        return f"{100 * value:.1f} %"
    if name.endswith("_bytes"):
        return byte_size(value)
    if "_us" in name:
        return scaled(value, ("µs", "ms", "s"))
    if name.endswith("_uj"):
        return scaled(value, ("µJ", "mJ", "J"))
    return scaled(value, ("", "k", "M", "G")) if value >= 1e6 else f"{value:,.6g}"


def as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
