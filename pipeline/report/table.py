"""The summary table: a column per stage, a row per figure, the rows grouped by kind so that no row mixes two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.report.agreement import TargetAgreement
from pipeline.report.figures import KINDS, ROWS, Report, StageResult, median, show, warnings
from pipeline.stage import BitExact, Kind

_LABEL_WIDTH, _CELL_WIDTH = 20, 10


def rows(report: Report) -> Iterator[tuple[Kind, str, list[str]]]:
    """(kind, label, one cell per stage) in the order of the table; a cell is "" where the stage has no such figure."""
    for kind in KINDS:
        for name, label in ROWS.items():
            found = [next((f for f in s.figures if f.name == name and f.kind == kind), None) for s in report.stages]
            if any(found):
                yield kind, label, [show(name, f.value) if f else "" for f in found]


def basis(report: Report, kind: Kind) -> str:
    """Where figures of this kind come from in this run, for the heading above their rows."""
    target, m = report.target, report.measured.measurement
    clock = f"{target.cpu.clock_hz / 1e6:g} MHz"
    vectors, images = report.measured.bit_exact.vectors, len(report.measured.package.data.x_test)
    some = f"; accuracy of the {vectors:,} images replayed, of {images:,}" if vectors < images else ""
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
    return Group(*(_table(report, i, report.stages[i : i + chunk]) for i in range(0, total, chunk)))


def _table(report: Report, first: int, stages: tuple[StageResult, ...]) -> RenderableType:
    """Sections share column widths, so that they read as one table."""
    parts: list[RenderableType] = []
    heading = _grid(len(stages))
    heading.add_row("", *(Text(s.name, style="bold") for s in stages))
    parts.append(heading)
    section: Table | None = None
    last: Kind | None = None
    for kind, label, cells in rows(report):
        shown = cells[first : first + len(stages)]
        if not any(shown):
            continue
        if kind != last:
            parts.append(Text.assemble((kind, "bold cyan"), (f"  {basis(report, kind)}", "dim")))
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


def verdict(report: Report) -> Text:
    """Whether the device, and every oracle, gave the reference's very bytes."""
    exact, agreement = report.measured.bit_exact, report.measured.agreement
    if agreement is not None:
        d = agreement.differences
        same = (
            ""
            if agreement.top1 is None
            else f"same class for {100 * agreement.top1:.2f} % of {agreement.vectors:,} images, "
        )
        apart = f"{100 * d.equal:.2f} % of all values equal, none off by more than {d.max_lsb} LSB"
        tflm = exact.oracles.get("tflm")
        other = "" if tflm is None else f"; TFLite Micro equal on {tflm:,}"
        return Text.assemble(("agreement", "bold green"), f"  with the integer reference: {same}{apart}{other}")
    good = exact.vectors == exact.equal
    style, word = ("green", "bit-exact") if good else ("red", "NOT bit-exact")
    return Text.assemble((word, f"bold {style}"), f"  {oracle_line(exact)}")


def oracle_line(exact: BitExact) -> str:
    """On how many vectors who gave the integer reference's very bytes."""
    names = {"tflm": "TFLite Micro", "onnxruntime": "ONNX Runtime", "host_c": "generated C on the host", "device": "device"}
    said = [f"{names.get(k, k)} {'not on this machine' if n is None else f'{n:,}'}" for k, n in exact.oracles.items()]
    return f"{exact.equal:,} of {exact.vectors:,} vectors: {', '.join(said)}"


def places(report: Report) -> Iterator[Text]:
    """Where everything is, one line each."""
    for label, place in (
        ("run folder", str(report.folder)),
        ("firmware", str(report.firmware)),
        ("report", str(report.folder / "report.html")),
        ("MLflow", report.page),
    ):
        yield Text.assemble((f"{label:<12}", "bold"), place)


def print_outcome(reports: Sequence[Report], agreements: Sequence[TargetAgreement], console: Console) -> None:
    """Each target's summary, and how far they agree."""
    for report in reports:
        if len(reports) > 1:
            console.print()
            console.rule(f"[bold]{report.target.name}")
        print_summary(report, console)
    for agreement in agreements:
        console.print()
        console.print(Text.assemble(("targets", "bold"), f"  {agreement}"))


def print_summary(report: Report, console: Console) -> None:
    m = report.measured.measurement
    console.print()
    console.print(summary_table(report, console.width))
    console.print(verdict(report))
    if m.instructions is not None and m.cycles is not None:
        exact = " (exact)" if m.counter == "plugin" else ""
        estimated = " (estimated)" if m.clock == "simulated" else ""
        console.print(
            Text.assemble(
                ("one inference", "bold"),
                f"  {m.instructions:,} instructions{exact}, {m.cycles:,} cycles{estimated}, "
                f"median of {len(m.latency_us)} runs {show('latency_us', median(m.latency_us))}",
            )
        )
    for warning in warnings(report):
        console.print(Text.assemble(("warning", "bold yellow"), f"  {warning}"))
    console.print()
    for line in places(report):
        console.print(line, soft_wrap=True)  # the terminal wraps: paths and addresses can be copied whole
