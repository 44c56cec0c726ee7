"""Plots of what is not a class: a task's score after each stage, and the device's answers one by one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure as Canvas

from pipeline.artifacts import Measured
from pipeline.display import short
from pipeline.measurement.kind import Kind
from pipeline.report.figures import CLASS_LETTERS, KINDS, Report
from pipeline.tasks.task import Histogram, Scatter, Task, real

COLORS: Mapping[Kind, str] = {
    "computed": "#2563a8",
    "measured": "#2b8a57",
    "simulated": "#b8690f",
    "host": "#6b7280",
    "estimated": "#7a4fb0",
}
_GROUPS = ("#8a8f98", "#a31f1f")  # of a histogram
_BINS = 40


def score(report: Report) -> Canvas | None:
    """The headline after each stage, one panel per kind; of a classifier `plots.accuracy` says more."""
    measure = report.headline
    if measure.percent:
        return None
    panels = {k: [s for s in report.stages if any(f.name == measure.name and f.kind == k for f in s.figures)] for k in KINDS}
    panels = {k: stages for k, stages in panels.items() if stages}
    if not panels:
        return None
    canvas = Canvas(figsize=(7.6, 3.0), layout="constrained")
    widths = [len(stages) + 0.9 for stages in panels.values()]
    axes = canvas.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths)[0]
    every = [v for stages in panels.values() for s in stages if (v := s.value(measure.name)) is not None]
    room = max(0.25 * (max(every) - min(every)), 0.05 * max(map(abs, every)))  # small differences look small
    axes[0].set_ylim(min(every) - room, max(every) + room)
    for ax, (kind, stages) in zip(axes, panels.items(), strict=True):
        values = [s.value(measure.name) or 0.0 for s in stages]
        ax.plot(range(len(stages)), values, marker="o", color=COLORS[kind], lw=1.2, ms=6)
        for i, v in enumerate(values):
            ax.annotate(measure.show(v), (i, v), (0, 7), textcoords="offset points", ha="center", fontsize=8.5)
        ax.set_xticks(range(len(stages)), [s.title for s in stages])
        ax.set_xlim(-0.5, len(stages) - 0.5)
        ax.set_title(kind, loc="left", color=COLORS[kind])
        ax.grid(axis="x", visible=False)
    better = "higher" if measure.higher_is_better else "lower"
    axes[0].set_ylabel(f"{report.label(measure.name)} ({better} is better)")
    return canvas


def answers(report: Report) -> Canvas | None:
    """The task's own picture of the device's answers; None where it has none."""
    if report.measured is None:
        return None
    picture, kind = _picture(report.task, report.measured), report.measured.measurement.kind
    if isinstance(picture, Scatter):
        return _scatter(picture, kind)
    return _histogram(picture, kind) if picture else None


def answers_caption(report: Report) -> str:
    picture = _picture(report.task, report.measured) if report.measured else None
    return picture.caption if picture else ""


def _picture(task: Task, measured: Measured) -> Scatter | Histogram | None:
    graph, n = measured.package.model.graph, len(measured.outputs)
    return task.picture(real(measured.outputs, graph[graph.outputs[0]]), measured.package.data.test_examples(n))


def _scatter(picture: Scatter, kind: Kind) -> Canvas:
    canvas = Canvas(figsize=(7.6, 3.8), layout="constrained")
    axes = canvas.subplots(1, len(picture.points), squeeze=False)[0]
    unit = f", {picture.unit}" if picture.unit else ""
    for ax, (name, (true, answered)) in zip(axes, picture.points.items(), strict=True):
        both = np.concatenate([true, answered])
        ends = (float(both.min()), float(both.max()))
        ax.plot(ends, ends, color="#8a8f98", lw=1)
        ax.plot(true, answered, ls="", marker="o", ms=4, mfc="none", color=COLORS[kind])
        named = f"{short(name, CLASS_LETTERS)} ({kind})" if len(picture.points) > 1 else kind
        ax.set_title(named, loc="left", color=COLORS[kind])
        ax.set_xlabel(f"true{unit}")
        ax.set_aspect("equal", adjustable="box")
    axes[0].set_ylabel(f"answered{unit}")
    return canvas


def _histogram(picture: Histogram, kind: Kind) -> Canvas:
    canvas = Canvas(figsize=(7.6, 3.0), layout="constrained")
    ax = canvas.subplots()
    bins = [float(b) for b in np.histogram_bin_edges(np.concatenate([*picture.groups.values()]), _BINS)]
    for (name, values), color in zip(picture.groups.items(), _GROUPS, strict=False):
        ax.hist(values, bins, color=color, alpha=0.65, label=f"{name} ({len(values):,})")
    ax.set_title(kind, loc="left", color=COLORS[kind])
    ax.set_xlabel(picture.label)
    ax.set_ylabel("examples")
    ax.legend(fontsize=8.5)
    return canvas
