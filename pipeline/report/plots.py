"""Plots of a run. A panel shows figures of one kind."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from pipeline.display import layer_name, short
from pipeline.measurement.kind import Kind
from pipeline.report.figures import CLASS_LETTERS, KINDS, Report, StageResult, layers, show
from pipeline.report.pictures import COLORS, answers, score

_MAX_CLASSES = 24
_MAX_LAYERS = 60
_LAYER_LETTERS = 34
_INK = "#1c2330"
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
    "svg.fonttype": "none",  # text stays text: it can be searched, and read aloud
    "text.parse_math": False,  # a class may be called "$5 to $10"
}


def write_plots(report: Report, folder: Path) -> dict[str, Path]:
    """{name: SVG file}; a plot without any figure to show is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a class's name: the viewer's font may have it
        for name, draw in DRAWN.items():
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
    canvas = Canvas(figsize=(7.6, 3.5), layout="constrained")
    widths = [len(stages) + 0.9 for stages in panels.values()]
    axes = canvas.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths)[0]
    lowest = 1.0
    for ax, (kind, stages) in zip(axes, panels.items(), strict=True):
        for name, marker, below in (("accuracy", "o", False), ("worst_class_recall", "s", True)):
            points = [(i, _value(s, name, kind)) for i, s in enumerate(stages)]
            known = [(i, v) for i, v in points if v is not None]
            if not known:
                continue
            lowest = min(lowest, *(v for _, v in known))
            fill = COLORS[kind] if marker == "o" else "white"
            ax.plot(*zip(*known, strict=True), marker=marker, color=COLORS[kind], mfc=fill, lw=1.2, ms=6)
            for i, v in known:
                offset = (0, -13) if below else (0, 7)
                ax.annotate(show(name, v), (i, v), offset, textcoords="offset points", ha="center", fontsize=8.5, bbox=_HALO)
        ax.set_xticks(range(len(stages)), [s.title for s in stages])
        ax.set_xlim(-0.5, len(stages) - 0.5)
        ax.set_title(kind, loc="left", color=COLORS[kind])
        ax.grid(axis="x", visible=False)
    floor = _floor(lowest)
    axes[0].set_ylim(floor - 0.12 * (1 - floor), 1 + 0.12 * (1 - floor))
    axes[0].yaxis.set_major_formatter(_PERCENT)
    step = next(t for t in (0.01, 0.02, 0.05, 0.1, 0.2) if (1 - floor) / t <= 6)
    axes[0].set_yticks(np.arange(1, floor - step / 2, -step))
    _legend(canvas, [("accuracy", "o", _INK), ("worst-class recall", "s", "white")])
    return canvas


def cost(report: Report) -> Canvas | None:
    """MACs and parameters after each stage that gives them."""
    wanted = (("macs", "MACs per inference"), ("parameters", "parameters"))
    shown = [(n, label, [s for s in report.stages if _has(s, n, "computed")]) for n, label in wanted]
    shown = [row for row in shown if len(row[2]) > 1]
    if not shown:
        return None
    canvas = Canvas(figsize=(7.6, 2.5), layout="constrained")
    axes = canvas.subplots(1, len(shown), squeeze=False, width_ratios=[len(stages) for _, _, stages in shown])[0]
    for ax, (name, label, stages) in zip(axes, shown, strict=True):
        values = [_value(s, name, "computed") or 0.0 for s in stages]
        bars = ax.bar([s.title for s in stages], values, color=COLORS["computed"], width=0.6)
        ax.bar_label(bars, [show(name, v) for v in values], fontsize=8.5, padding=2)
        ax.tick_params(axis="x", labelsize=8.5, length=0)
        ax.set_title(f"{label} (computed)", loc="left", color=COLORS["computed"])
        _labelled_bars(ax, "y")
    return canvas


def layer_costs(report: Report) -> Canvas | None:
    """Constants, MACs and output size of each layer of the int8 graph, in order of execution from the top."""
    costly = [x for x in layers(report.package) if x.constant_bytes or x.macs] if report.package else []
    if not costly:
        return None
    found = costly[:_MAX_LAYERS]
    canvas = Canvas(figsize=(7.6, 0.7 + 0.26 * len(found)), layout="constrained")
    axes = canvas.subplots(1, 3, sharey=True)
    rows = np.arange(len(found))
    columns = (
        ("constants", "constant_bytes", [x.constant_bytes for x in found]),
        ("MACs", "macs", [x.macs for x in found]),
        ("output", "output_bytes", [x.output_bytes for x in found]),
    )
    for ax, (title, name, values) in zip(axes, columns, strict=True):
        bars = ax.barh(rows, values, color=COLORS["computed"], height=0.66)
        ax.bar_label(bars, [show(name, v) for v in values], fontsize=8, padding=2)
        ax.set_title(f"{title} (computed)", loc="left", color=COLORS["computed"])
        ax.tick_params(axis="y", length=0)
        _labelled_bars(ax, "x")
    axes[0].set_yticks(rows, [f"{x.index}  {short(layer_name(x.op, x.name), _LAYER_LETTERS)}" for x in found], fontsize=8.5)
    axes[0].set_ylim(len(found) - 0.4, -0.6)  # the first on top
    if len(costly) > len(found):
        canvas.supxlabel(
            f"the first {len(found)} of {len(costly)} layers with constants; the table of layers has all", fontsize=8.5
        )
    return canvas


def recall(report: Report) -> Canvas | None:
    """Recall of each class, a row each: float and int8 in one panel, the device in a panel of its own; of many classes the
    worst."""
    chosen = [s for s in report.stages if s.name in ("train", "quantize", "measure") and s.recalls]
    panels: dict[Kind, list[StageResult]] = {}
    for stage in chosen:
        panels.setdefault(next(iter(stage.recalls.values())).kind, []).append(stage)
    if not panels:
        return None
    last = {c: f.value for c, f in chosen[-1].recalls.items()}
    classes = sorted(last, key=lambda c: last[c])[:_MAX_CLASSES] if len(last) > _MAX_CLASSES else [*last]
    canvas = Canvas(figsize=(7.6, 1.2 + 0.23 * len(classes)), layout="constrained")
    axes = canvas.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    rows = range(len(classes))
    floor = _floor(min(s.recalls[c].value for s in chosen for c in classes if c in s.recalls))
    for ax, kind in zip(axes, [k for k in KINDS if k in panels], strict=True):
        for stage in panels[kind]:
            known = [(stage.recalls[c].value, i) for i, c in enumerate(classes) if c in stage.recalls]
            ax.plot(*zip(*known, strict=True), color=COLORS[kind], clip_on=False, **_dot(stage, COLORS[kind]))
        final = panels[kind][-1].recalls
        for i, c in enumerate(classes):
            said = show("recall_", final[c].value) if c in final else ""
            ax.annotate(said, (1, i), (10, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
                        va="center", fontsize=8, annotation_clip=False)  # fmt: skip
        ax.set_xlim(floor - 0.04 * (1 - floor), 1)  # the ring of the lowest stays clear of the names
        ax.xaxis.set_major_formatter(_PERCENT)
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.set_title(f"recall ({kind})", loc="left", color=COLORS[kind])
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
    axes[0].set_yticks(rows, [short(c, CLASS_LETTERS) for c in classes], fontsize=8.5)
    axes[0].set_ylim(len(classes) - 0.4, -0.6)
    rings, dots = ([s.title for s in chosen if (s.name == "train") is ring] for ring in (True, False))
    entries = ((rings, "white"), (dots, _INK))
    _legend(canvas, [(", ".join(titles), "o", fill) for titles, fill in entries if titles])
    more = len(last) - len(classes)
    if more:
        canvas.supxlabel(f"the {len(classes)} worst classes; {more} more are at least as good", fontsize=8.5)
    return canvas


DRAWN: Mapping[str, Callable[[Report], Canvas | None]] = {
    "accuracy": accuracy,
    "score": score,
    "cost": cost,
    "layers": layer_costs,
    "recall": recall,
    "answers": answers,
}

_HALO = {"fc": "white", "ec": "none", "pad": 0.6}  # around words that a line may cross
_PERCENT = PercentFormatter(1.0, decimals=0, symbol=" %")


def _dot(stage: StageResult, color: str) -> dict[str, Any]:
    """A ring for the float model, a dot that fits into it for what came of it."""
    ring = stage.name == "train"
    return {"ls": "", "marker": "o", "ms": 8 if ring else 4.5, "mfc": "white" if ring else color}


def _floor(lowest: float) -> float:
    """Where an axis of fractions begins: a round number of 5 % below the lowest."""
    return float(max(0.0, np.floor((lowest - 0.02) * 20) / 20))


def _legend(canvas: Canvas, entries: list[tuple[str, str, str]]) -> None:
    """(label, marker, fill) above the panels, where no point can be; in ink, as the colour of a panel says its kind."""
    handles = [Line2D([], [], ls="", marker=m, ms=6, color=_INK, mfc=fill, label=label) for label, m, fill in entries]
    canvas.legend(handles=handles, loc="outside upper right", ncols=len(handles), fontsize=8.5, handletextpad=0)


def _labelled_bars(ax: Any, values: str) -> None:
    """Each bar says its value: the axis along `values` ("x" or "y") needs no ticks, but room for the labels."""
    ax.grid(visible=False)
    ax.tick_params(axis=values, left=False, bottom=False, labelleft=values == "x", labelbottom=values == "y")
    ax.spines["bottom" if values == "x" else "left"].set_visible(False)
    ax.margins(**{values: 0.3 if values == "x" else 0.14})


def _has(stage: StageResult, name: str, kind: Kind) -> bool:
    return _value(stage, name, kind) is not None


def _value(stage: StageResult, name: str, kind: Kind) -> float | None:
    return next((f.value for f in stage.figures if f.name == name and f.kind == kind), None)
