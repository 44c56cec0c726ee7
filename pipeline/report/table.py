"""The summary table: a column per stage, a row per figure, the rows grouped by kind so that no row mixes two."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.evidence import BitExact
from pipeline.measurement.kind import Kind
from pipeline.report.agreement import TargetAgreement
from pipeline.report.figures import KINDS, ROWS, Report, StageResult, show
from pipeline.report.labelled import BAD, GOOD, WARNING, labelled, place_line, wrapped
from pipeline.report.warnings import warnings

_LABEL_WIDTH, _CELL_WIDTH = 20, 10
_WORDS = {2: "twos", 4: "fours", 8: "eights", 16: "sixteens"}


def rows(report: Report) -> Iterator[tuple[Kind, str, list[str]]]:
    """(kind, label, one cell per stage) in the order of the table; a cell is "" where the stage has no such figure."""
    for kind in KINDS:
        for name in ROWS:
            found = [next((f for f in s.figures if f.name == name and f.kind == kind), None) for s in report.stages]
            if any(found):
                yield kind, report.label(name), [show(name, f.value) if f else "" for f in found]
            if name == "accuracy" and any(found) and (interval := _interval(report.stages, kind)):
                yield kind, *interval


def _interval(stages: Sequence[StageResult], kind: Kind) -> tuple[str, list[str]] | None:
    """The row below the accuracy: its 95 % interval (Wilson's), and of how many images; None where nobody counted them."""
    wanted = ("images", "accuracy_low", "accuracy_high")  # a user's own stage may log some of them, and mean something else
    found = [{f.name: f.value for f in s.figures if f.kind == kind and f.name in wanted} for s in stages]
    whole = [values if len(values) == len(wanted) else {} for values in found]
    images = {int(values["images"]) for values in whole if values}
    if not images:
        return None
    cells = [f"{100 * v['accuracy_low']:.1f}-{100 * v['accuracy_high']:.1f}" if v else "" for v in whole]
    return f"95 % of {min(images):,}" if len(images) == 1 else "95 % interval", cells


def basis(report: Report, kind: Kind) -> str:
    """Where figures of this kind come from in this run, for the heading above their rows."""
    target = report.target
    if report.measured is None:
        return KINDS[kind]
    m = report.measured.measurement
    clock = f"{target.cpu.clock_hz / 1e6:g} MHz"
    vectors, images = report.measured.bit_exact.vectors, len(report.measured.package.data.x_test)
    some = f"; {report.headline.label} of the {vectors:,} images replayed, of {images:,}" if vectors < images else ""
    if kind == "simulated":
        band = f" {m.cycles_low:,} to {m.cycles_high:,}" if m.cycles_low and m.cycles_high else ""
        return f"in the emulator, {m.device}{some}; latency = estimated cycles{band} / {clock}, no flash wait states"
    if kind == "estimated":
        return f"power model {target.power.active_mw:g} mW x latency"
    if kind == "measured":
        return f"on the device, {m.device}{some}"
    if kind == "host":
        return f"on this computer, {m.device}{some}; no {target.name} was measured"
    return KINDS[kind]


def summary_table(report: Report, width: int) -> RenderableType:
    """The table for a terminal `width` columns wide: where all stages do not fit side by side, a second table continues."""
    per_table = max(1, (width - _LABEL_WIDTH) // _CELL_WIDTH)
    total = len(report.stages)
    parts = -(-total // per_table)
    chunk = -(-total // parts)
    return Group(*(_table(report, i, report.stages[i : i + chunk], width) for i in range(0, total, chunk)))


def _table(report: Report, first: int, stages: tuple[StageResult, ...], width: int) -> RenderableType:
    """Sections share column widths, so that they read as one table."""
    parts: list[RenderableType] = []
    heading = _grid(len(stages))
    heading.add_row("", *(Text(s.title, style="bold") for s in stages))
    parts.append(heading)
    section: Table | None = None
    last: Kind | None = None
    for kind, label, cells in rows(report):
        shown = cells[first : first + len(stages)]
        if not any(shown):
            continue
        if kind != last:
            words = wrapped(f"{kind}  {basis(report, kind)}", width)
            words.stylize("dim", len(kind))
            words.stylize("bold magenta", 0, len(kind))
            parts.append(words)
            section, last = _grid(len(stages)), kind
            parts.append(section)
        assert section is not None
        section.add_row(f"  {label}", *shown)
    return Padding(Group(*parts), (0, 0, 1, 0))


def _grid(columns: int) -> Table:
    grid = Table(box=None, show_header=False, padding=(0, 0), pad_edge=False)
    grid.add_column(width=_LABEL_WIDTH, overflow="fold")
    for _ in range(columns):
        grid.add_column(width=_CELL_WIDTH, justify="right", overflow="fold")
    return grid


class Verdict(NamedTuple):
    """`good` when the device gave what it must."""

    good: bool
    word: str
    detail: str


def verdict(report: Report) -> Verdict | None:
    """Whether the device, and every oracle, gave the reference's very bytes; how far a Linux target is from them. None when
    nothing was measured."""
    if report.measured is None:
        return None
    exact, agreement = report.measured.bit_exact, report.measured.agreement
    if agreement is None:
        good = exact.vectors == exact.equal
        return Verdict(good, "bit-exact" if good else "NOT bit-exact", oracle_line(exact))
    d, tflm = agreement.differences, exact.oracles.get("tflm")
    parts = [f"{100 * d.equal:.2f} % of all values equal", f"none off by more than {d.max_lsb} LSB"]
    if agreement.top1 is not None:
        parts.insert(0, f"same class for {100 * agreement.top1:.2f} % of {agreement.vectors:,} images")
    other = "" if tflm is None else f"; TFLite Micro equal on {tflm:,}"
    return Verdict(True, "agreement", f"with the integer reference: {', '.join(parts)}{other}")


def oracle_line(exact: BitExact) -> str:
    """On how many vectors who gave the integer reference's very bytes."""
    names = {
        "tflm": "TFLite Micro",
        "litert": "LiteRT on your own file",
        "litert_optimised": "LiteRT's optimised kernels, which round otherwise, on your own file",
        "onnxruntime": "ONNX Runtime",
        "host_c": "generated C on the host",
        "device": "device",
    }
    said = [f"{names.get(k, k)} {'not on this machine' if n is None else f'{n:,}'}" for k, n in exact.oracles.items()]
    return f"{exact.equal:,} of {exact.vectors:,} vectors: {', '.join(said)}"


def print_outcome(reports: Sequence[Report], agreements: Sequence[TargetAgreement], console: Console) -> None:
    """Each target's summary, and how far they agree."""
    for report in reports:
        if len(reports) > 1:
            console.print()
            console.rule(Text(report.target.name, style="bold"))
        print_summary(report, console)
    if agreements:
        console.print()
        console.print(labelled([("targets", str(a)) for a in agreements], console.width))


def print_summary(report: Report, console: Console) -> None:
    console.print()
    console.print(summary_table(report, console.width))
    console.print(labelled(_findings(report), console.width))
    console.print()
    for label, place in _places(report):
        console.print(place_line(label, place), soft_wrap=True)


def _findings(report: Report) -> Iterator[tuple[str | Text, str]]:
    if found := verdict(report):
        yield Text.assemble((found.word, GOOD if found.good else BAD)), found.detail
    else:
        yield "stopped", f"after {report.stages[-1].name}, as asked: nothing was measured"
    m = report.measured.measurement if report.measured else None
    if m and m.instructions is not None and m.cycles is not None:
        exact = " (exact)" if m.counter == "plugin" else ""
        estimated = " (estimated)" if m.clock == "simulated" else ""
        latency = show("latency_us", statistics.median(m.latency_us))
        counts = f"{m.instructions:,} instructions{exact}, {m.cycles:,} cycles{estimated}"
        yield "one inference", f"{counts}, median of {len(m.latency_us)} runs {latency}"
    if said := kept_line(report.stages):
        yield "pruned", said
    for warning in warnings(report):
        yield Text.assemble(("warning", WARNING)), warning


def kept_line(stages: Sequence[StageResult]) -> str:
    """What pruning kept of the MACs, and where that is not what was asked for, why; empty without it."""
    prune = next((s for s in stages if s.value("macs_kept") is not None), None)
    kept, asked = (prune.value("macs_kept"), prune.value("macs_asked")) if prune else (None, None)
    if prune is None or kept is None or asked is None:
        return ""
    multiple = int(prune.value("channels_multiple") or 1)
    why = f"; channels in {_WORDS.get(multiple, f'multiples of {multiple}')}" if multiple > 1 else ""
    said = f"kept {100 * kept:.0f} % of the MACs"
    return said if f"{kept:.2f}" == f"{asked:.2f}" else f"{said} (asked {100 * asked:.0f} %{why})"


def _places(report: Report) -> Iterator[tuple[str, str]]:
    yield "run folder", str(report.folder)
    if report.firmware:
        yield "firmware", str(report.firmware)
    yield "report", str(report.folder / "report.html")
    # An address works everywhere; `pipeline ui` serves the store of the folder it is started in.
    elsewhere = report.page.startswith("http") or report.tracker != "MLflow"
    yield report.tracker, report.page if elsewhere else f"in this folder: {report.page}"
    if report.next:
        yield "go on with", report.next
