"""The files a run leaves about itself: report.json, report.html, the plots and the resolved recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.measurement.kinds import FORMAT
from pipeline.report.agreement import TargetAgreement
from pipeline.report.figures import Report, as_json
from pipeline.report.page import render_page
from pipeline.report.plots import write_plots


def write_report(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write them below `folder`, where the run's files are before the folder gets its name; the files written."""
    plots = write_plots(report, folder / "plots")
    arena = folder / report.firmware.relative_to(report.folder) / "arena.svg" if report.firmware else None
    pictures = {**plots, "arena": arena} if arena and arena.is_file() else plots
    texts = {
        "report.json": as_json(report.json()),
        "report.html": render_page(report, pictures),
        "recipe.toml": report.recipe_toml,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return (*(folder / name for name in texts), *plots.values())


def outcome_text(reports: Sequence[Report], agreements: Sequence[TargetAgreement]) -> str:
    """One target's report as it is; several in a list, with how far they agree."""
    if len(reports) == 1:
        return as_json(reports[0].json())
    return as_json({"format": FORMAT, "targets": [r.json() for r in reports], "agreement": [a.json() for a in agreements]})
