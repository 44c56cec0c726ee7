"""The HTML report: one file that needs nothing else, to keep and to send."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.display import plain
from pipeline.report.figures import KINDS, Report, layers, show
from pipeline.report.pictures import answers_caption
from pipeline.report.table import basis, rows, verdict
from pipeline.report.warnings import warnings

_CAPTIONS = {
    "accuracy": "Accuracy and the recall of the class that fares worst after each stage.",
    "cost": "Multiply-accumulates of one inference, and parameters, after each stage.",
    "layers": "The int8 layers with constants, in order of execution: constants, multiply-accumulates, output.",
    "score": "What counts for this task after each stage.",
    "recall": "Recall of each class: how many of its test images were recognised. The number is of the panel's last stage.",
    "answers": "",  # the task's own words
    "arena": "The firmware's working memory over time: each box is a tensor, as wide as it lives (computed).",
}


def render_page(report: Report, plots: Mapping[str, Path]) -> str:
    """The page's HTML; `plots` are SVG files, written into it."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"
    environment.filters["plain"] = plain
    environment.filters["show"] = lambda value, name: show(name, value)
    sections = [
        (kind, basis(report, kind), [(label, cells) for _, label, cells in group])
        for kind, group in groupby(rows(report), key=lambda row: row[0])
    ]
    return environment.get_template("page.html.j2").render(
        report=report,
        m=report.measured.measurement if report.measured else None,
        median_us=statistics.median(report.measured.measurement.latency_us) if report.measured else 0.0,
        cards=_cards(report),
        verdict=verdict(report),
        warnings=warnings(report),
        sections=sections,
        plots=[(name, _CAPTIONS[name] or answers_caption(report), _inline_svg(path)) for name, path in plots.items()],
        layers=layers(report.package) if report.package else (),
        recalls=[s for s in report.stages if s.recalls],
        classes=list(dict.fromkeys(c for s in report.stages for c in s.recalls)),
        kinds=KINDS,
    )


def _inline_svg(path: Path) -> Markup:
    """The <svg> element alone: an XML declaration and a DOCTYPE are not HTML. Our own file, so it is safe as it is."""
    text = path.read_text(encoding="utf-8")
    return Markup(text[text.index("<svg") :])


def _cards(report: Report) -> list[tuple[str, str, str, str]]:
    """(label, value, detail, kind) of what a reader wants to know first."""
    last = {f.name: f for s in report.stages for f in s.figures}
    cards: list[tuple[str, str, str, str]] = []
    score = report.headline
    before = report.headlines()["float"]  # none in a run that goes on from a saved artifact
    if score.name in last and report.measured is None:
        cards.append((report.label(score.name), score.show(last[score.name].value), "", last[score.name].kind))
    elif score.name in last and report.measured:
        vectors, images = report.measured.bit_exact.vectors, len(report.measured.package.data.x_test)
        parts = [f"{vectors:,} of {images:,} images"] if vectors < images else []
        parts += [f"float: {score.show(before)} computed"] if before is not None else []
        detail = ", ".join(parts)
        f = last[score.name]
        cards.append((f"{report.label(score.name)} on the device", score.show(f.value), detail, f.kind))
    macs = [f.value for s in report.stages for f in s.figures if f.name == "macs"]
    if macs:
        train = report.last("train")
        of_float = train.value("macs") if train else None
        kept = f"{100 * macs[-1] / of_float:.0f} % of the float model" if of_float else ""
        cards.append(("MACs", show("macs", macs[-1]), kept, "computed"))
    memory, linux = report.target.memory, report.target.family == "linux"
    for name, label, budget in (
        ("flash_bytes", "storage" if linux else "flash", memory.flash_bytes),
        ("ram_bytes", "RAM, engine included" if linux else "RAM, stack included", memory.ram_bytes),
    ):
        if name in last:
            cards.append((label, show(name, last[name].value), f"of {show(name, budget)}", last[name].kind))
    if "latency_us_median" in last:
        f = last["latency_us_median"]
        clock = "median, batch 1" if linux else f"at {report.target.cpu.clock_hz / 1e6:g} MHz"
        cards.append(("latency", show(f.name, f.value), clock, f.kind))
    if "energy_uj" in last:
        f = last["energy_uj"]
        cards.append(("energy per inference", show(f.name, f.value), f"{report.target.power.active_mw:g} mW active", f.kind))
    return cards
