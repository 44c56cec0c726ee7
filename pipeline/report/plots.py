"""Plots of a run. A panel shows one kind of figure; computed, measured, simulated and estimated never share an axis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter, PercentFormatter

from pipeline.report.figures import KINDS, Report, StageResult, layers, show
from pipeline.stage import Kind

COLORS: Mapping[Kind, str] = {
    "computed": "#2563a8",
    "measured": "#2b8a57",
    "simulated": "#b8690f",
    "host": "#6b7280",
    "estimated": "#7a4fb0",
}
_MAX_CLASSES = 24
_MAX_LAYERS = 60
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.edgecolor": "#8a8f98",
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "pipeline",  # the same file from the same figures
}


def write_plots(report: Report, folder: Path) -> dict[str, Path]:
    """{name: SVG file}; a plot without any figure to show is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    with mpl.rc_context(_STYLE):
        for name, draw in (("accuracy", accuracy), ("cost", cost), ("layers", layer_costs), ("recall", recall)):
            canvas = draw(report)
            if canvas is not None:
                written[name] = folder / f"{name}.svg"
                canvas.savefig(written[name], metadata={"Date": None}, bbox_inches="tight", pad_inches=0.1)
    return written


def accuracy(report: Report) -> Canvas | None:
    """Accuracy and worst-class recall after each stage, one panel per kind."""
    panels = {k: [s for s in report.stages if _has(s, "accuracy", k)] for k in KINDS}
    panels = {k: stages for k, stages in panels.items() if stages}
    if not panels:
        return None
    canvas = Canvas(figsize=(7.6, 3.3), layout="constrained")
    widths = [len(stages) + 0.9 for stages in panels.values()]
    axes = canvas.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths)[0]
    lowest = 1.0
    for ax, (kind, stages) in zip(axes, panels.items(), strict=True):
        for name, label, marker, below in (
            ("accuracy", "accuracy", "o", False),
            ("worst_class_recall", "worst-class recall", "s", True),
        ):
            points = [(i, _value(s, name, kind)) for i, s in enumerate(stages)]
            known = [(i, v) for i, v in points if v is not None]
            if not known:
                continue
            lowest = min(lowest, *(v for _, v in known))
            fill = COLORS[kind] if marker == "o" else "white"
            ax.plot(*zip(*known, strict=True), marker=marker, color=COLORS[kind], mfc=fill, lw=1.2, ms=6, label=label)
            for i, v in known:
                offset = (0, -13) if below else (0, 7)
                ax.annotate(show(name, v), (i, v), offset, textcoords="offset points", ha="center", fontsize=8.5)
        ax.set_xticks(range(len(stages)), [s.name for s in stages])
        ax.set_xlim(-0.5, len(stages) - 0.5)
        ax.set_title(kind, loc="left", color=COLORS[kind])
        ax.grid(axis="x", visible=False)
    floor = max(0.0, np.floor((lowest - 0.02) * 20) / 20)
    axes[0].set_ylim(floor - 0.12 * (1 - floor), 1 + 0.12 * (1 - floor))
    axes[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    step = next(t for t in (0.01, 0.02, 0.05, 0.1, 0.2) if (1 - floor) / t <= 6)
    axes[0].set_yticks(np.arange(1, floor - step / 2, -step))
    axes[0].legend(loc="lower left", fontsize=8.5)
    return canvas


def cost(report: Report) -> Canvas | None:
    """MACs and parameters after each stage that gives them."""
    wanted = [(n, label) for n, label in (("macs", "MACs per inference"), ("parameters", "parameters"))]
    shown = [(n, label, [s for s in report.stages if _has(s, n, "computed")]) for n, label in wanted]
    shown = [row for row in shown if len(row[2]) > 1]
    if not shown:
        return None
    canvas = Canvas(figsize=(7.6, 2.7), layout="constrained")
    axes = canvas.subplots(1, len(shown), squeeze=False)[0]
    for ax, (name, label, stages) in zip(axes, shown, strict=True):
        values = [_value(s, name, "computed") or 0.0 for s in stages]
        bars = ax.bar([s.name for s in stages], values, color=COLORS["computed"], width=0.6)
        ax.bar_label(bars, [show(name, v) for v in values], fontsize=8.5, padding=2)
        ax.set_title(f"{label} (computed)", loc="left", color=COLORS["computed"])
        ax.yaxis.set_major_formatter(EngFormatter(sep=" "))
        ax.grid(axis="x", visible=False)
        ax.margins(y=0.14)
    return canvas


def layer_costs(report: Report) -> Canvas | None:
    """Weights, MACs and output size of each layer of the int8 graph, in order of execution from the top."""
    found = [x for x in layers(report.measured.package.model.graph) if x.weight_bytes or x.macs]
    if not found:
        return None
    found = found[:_MAX_LAYERS]
    canvas = Canvas(figsize=(7.6, 1.1 + 0.26 * len(found)), layout="constrained")
    axes = canvas.subplots(1, 3, sharey=True)
    rows = np.arange(len(found))
    for ax, (title, unit, values) in zip(
        axes,
        (
            ("weights", "B", [x.weight_bytes for x in found]),
            ("MACs", "", [x.macs for x in found]),
            ("output", "B", [x.output_bytes for x in found]),
        ),
        strict=True,
    ):
        bars = ax.barh(rows, values, color=COLORS["computed"], height=0.66)
        ax.bar_label(bars, [show("x_bytes" if unit else "macs", v) for v in values], fontsize=8, padding=2)
        ax.set_title(f"{title} (computed)", loc="left", color=COLORS["computed"])
        ax.xaxis.set_major_formatter(EngFormatter(unit=unit, sep=" "))
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
        ax.margins(x=0.28)
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(rows, [f"{x.index}  {_short(x.name)}" for x in found], fontsize=8.5)
    axes[0].invert_yaxis()
    return canvas


def recall(report: Report) -> Canvas | None:
    """Recall of each class: float and int8 side by side, the device in a panel of its own; of many classes the worst."""
    chosen = [s for s in report.stages if s.name in ("train", "quantize", "measure") and _recalls(s)]
    panels: dict[Kind, list[StageResult]] = {}
    for stage in chosen:
        kind = next(f.kind for f in stage.figures if f.name.startswith("recall_"))
        panels.setdefault(kind, []).append(stage)
    if not panels:
        return None
    everything = _recalls(chosen[-1])
    classes = (
        sorted(everything, key=lambda c: everything[c])[:_MAX_CLASSES] if len(everything) > _MAX_CLASSES else [*everything]
    )
    canvas = Canvas(figsize=(7.6, 2.5 * len(panels) + 0.3), layout="constrained")
    axes = canvas.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, kind in zip(axes, [k for k in KINDS if k in panels], strict=True):
        stages = panels[kind]
        width = 0.76 / len(stages)
        for i, stage in enumerate(stages):
            values = [_recalls(stage).get(c, 0.0) for c in classes]
            at = np.arange(len(classes)) + (i - (len(stages) - 1) / 2) * width
            color = _pale(COLORS[kind]) if len(stages) > 1 and i == 0 else COLORS[kind]
            bars = ax.bar(at, values, width * 0.92, color=color, label=stage.name)
            if len(classes) * len(stages) <= 24:
                ax.bar_label(bars, [f"{100 * v:.0f}" for v in values], fontsize=7.5, padding=1)
        ax.set_ylim(0, 1.12)
        ax.set_yticks([0, 0.5, 1])
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_title(f"recall by class ({kind})", loc="left", color=COLORS[kind])
        ax.legend(loc="lower right", ncols=2, fontsize=8.5, bbox_to_anchor=(1, 1), borderaxespad=0.1)
        ax.grid(axis="x", visible=False)
    rotate = 60 if max(map(len, classes)) > 6 else 0
    axes[-1].set_xticks(range(len(classes)), classes, rotation=rotate, ha="right" if rotate else "center")
    more = len(everything) - len(classes)
    axes[-1].set_xlabel("class" + (f" (the {len(classes)} worst; {more} more are at least as good)" if more else ""))
    return canvas


def _has(stage: StageResult, name: str, kind: Kind) -> bool:
    return _value(stage, name, kind) is not None


def _value(stage: StageResult, name: str, kind: Kind) -> float | None:
    return next((f.value for f in stage.figures if f.name == name and f.kind == kind), None)


def _recalls(stage: StageResult) -> dict[str, float]:
    return {f.name.removeprefix("recall_"): f.value for f in stage.figures if f.name.startswith("recall_")}


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"...{name[-25:]}"


def _pale(color: str) -> tuple[float, ...]:
    """Half way to white, opaque: grid lines do not shine through."""
    return tuple((c + 1) / 2 for c in to_rgb(color))
