"""Names of classes, layers and stages, however long or odd: in the terminal, the pictures, the page and the JSON."""

from __future__ import annotations

import io
import itertools
import json
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import pytest
from example_target import lowered
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from rich.console import Console
from scored import scored

from pipeline.codegen.arena_svg import arena_svg
from pipeline.display import layer_name, plain, short
from pipeline.report import plots
from pipeline.report.figures import Layer, Report
from pipeline.report.labelled import wrapped
from pipeline.report.progress import Display
from pipeline.report.table import print_outcome
from pipeline.report.warnings import warnings as found_warnings
from pipeline.report.write import outcome_text, write_report

ODD = ("&amp; <b>cat</b>", 'say "hi"', "new\nline", "[red]dog[/red]", "[/]", "$x^2$ to $5", "esc\x1b[31m", "犬", "x" * 70)


def classified(report: Report, names: tuple[str, ...], *, low: float = 0.9, high: float = 1.0) -> Report:
    """The same run with these classes; the first fares worst."""
    recall = {name: low + (high - low) * i / len(names) for i, name in enumerate(names)}
    first = replace(report.stages[0], figures=scored("train", recall).figures)
    last = replace(
        report.stages[-1], figures=scored("measure", recall, kind="simulated").figures + report.stages[-1].figures[-1:]
    )
    return replace(report, stages=(first, *report.stages[1:-1], last))


def svg_texts(path: Path) -> list[str]:
    return ["".join(e.itertext()) for e in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]


class _Cells(HTMLParser):
    """The text of every table cell, and every tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self._in = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "td":
            self.cells.append("")
        self._in = tag == "td" or (self._in and tag != "tr")

    def handle_data(self, data: str) -> None:
        if self._in and self.cells:
            self.cells[-1] += data


def test_odd_class_names_come_out_as_they_are(report: Report, tmp_path: Path) -> None:
    odd = classified(report, ODD)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that the font lacks is the viewer's matter
        write_report(odd, tmp_path)
    shown = [plain(name) for name in ODD]
    drawn = svg_texts(tmp_path / "plots" / "recall.svg")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    parsed = _Cells(page)
    for name in shown:
        assert (name if len(name) <= 24 else "xxxxxxxxxxx…xxxxxxxxxxxx") in drawn
        assert name in [cell.strip() for cell in parsed.cells]  # in the page's table whole
    assert "b" in parsed.tags  # the page's own
    assert "<b>cat" not in page
    stages = json.loads(outcome_text([odd], []))["stages"]
    assert {f"recall_{name}" for name in ODD} <= set(stages[0]["metrics"])  # whole, and nothing replaced


def test_a_name_on_one_line() -> None:
    assert plain("new\nline\ttab\x1b[31m\ud800") == "new\\nline\\ttab\\x1b[31m\\ud800"
    assert plain("naïve 犬 $5") == "naïve 犬 $5"
    assert short("a_long_class_name_number_07", 15) == "a_long_…mber_07"
    assert [len(short("x" * 70, most)) for most in (3, 4, 24)] == [3, 4, 24]
    assert short("cat", 3) == "cat"


def test_of_many_long_names_the_picture_stays_readable(report: Report) -> None:
    names = tuple(f"class_{i:03d}_{'long_name_' * 6}" for i in range(100))
    with mpl.rc_context({"text.parse_math": False}):
        canvas = plots.recall(classified(report, names, low=0.2))
        assert canvas is not None
        assert not overlaps(canvas, list(canvas.axes[0].get_yticklabels()))
    labels = [label.get_text() for label in canvas.axes[0].get_yticklabels()]
    assert labels[0] == "class_000_l…e_long_name_"
    assert len(labels) == 24
    assert canvas.get_size_inches()[0] < 8


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.02), (0.5, 1.0), (0.97, 0.99), (1.0, 1.0)])
def test_the_legend_covers_no_point(report: Report, low: float, high: float) -> None:
    canvas = plots.accuracy(classified(report, ("a", "b"), low=low, high=high))
    assert canvas is not None
    FigureCanvasAgg(canvas).draw()
    (legend,) = canvas.legends
    box = legend.get_window_extent()
    for ax in canvas.axes:
        assert ax.get_legend() is None
        assert box.y0 >= ax.get_window_extent().y1


def overlaps(canvas: Canvas, texts: list[mpl.text.Text]) -> bool:
    FigureCanvasAgg(canvas).draw()
    boxes = sorted((t.get_window_extent() for t in texts), key=lambda b: b.y0)
    return any(below.y1 > above.y0 for below, above in itertools.pairwise(boxes))


def test_a_loaded_checkpoint_reads_as_one(report: Report, tmp_path: Path) -> None:
    loaded = replace(report, stages=(replace(report.stages[0], loaded=True), *report.stages[1:]))
    assert json.loads(outcome_text([loaded], []))["stages"][0]["name"] == "train"
    out = io.StringIO()
    console = Console(file=out, width=80)
    print_outcome([loaded], [], console)
    assert out.getvalue().split()[:3] == ["checkpoint", "prune", "distill"]
    Display(console).finished(loaded.stages[0])
    assert "\ncheckpoint accuracy 98.1 %" in out.getvalue()
    write_report(loaded, tmp_path)
    assert "checkpoint → prune" in (tmp_path / "report.html").read_text(encoding="utf-8")
    for picture in ("accuracy", "cost", "recall"):
        said = svg_texts(tmp_path / "plots" / f"{picture}.svg")
        assert "checkpoint" in said
        assert "train" not in said


def test_a_bad_checkpoint_is_not_sent_to_the_training_curves(report: Report) -> None:
    bad = replace(report, measured=replace(report.measured, scores={"accuracy": 0.1}))
    assert "see the training curves in MLflow" in found_warnings(bad)[0]
    loaded = replace(bad, stages=(replace(report.stages[0], loaded=True), *report.stages[1:]))
    assert "check that the checkpoint was trained on these classes" in found_warnings(loaded)[0]


def test_classes_never_recognised_are_named(report: Report) -> None:
    stage = scored("quantize", dict.fromkeys(("[red]", "b\nc", "x" * 70, "d"), 0.0) | {"e": 1.0}, accuracy=0.9)
    (said,) = [w for w in found_warnings(replace(report, stages=(stage,))) if "never" in w]
    assert said == (
        "quantize: 4 classes ('[red]', 'b\\nc', 'xxxxxxxxxxx…xxxxxxxxxxxx', ...) are never recognised; see the recall by "
        "class in the report."
    )


def test_layers_of_a_sequential_are_told_apart(report: Report, tmp_path: Path) -> None:
    graph = report.measured.package.model.graph
    write_report(report, tmp_path)
    said = svg_texts(tmp_path / "plots" / "layers.svg")
    assert {"0  conv2d y0", "1  conv2d y1"} <= set(said)
    assert (layer_name("conv2d", "0"), layer_name("add", "add")) == ("conv2d 0", "add")
    arena = tmp_path / "arena.svg"
    arena.write_text(arena_svg(lowered(graph)), encoding="utf-8")
    drawn = svg_texts(arena)
    assert drawn.count("0 conv2d") == drawn.count("1 conv2d") == 2  # below its column, and in its bar


def test_of_very_many_layers_the_picture_says_that_it_shows_some(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer(0, "0", "conv2d", constant_bytes=288, macs=9216, output_bytes=1024)
    monkeypatch.setattr(plots, "layers", lambda package: [replace(layer, index=i) for i in range(70)])
    canvas = plots.layer_costs(report)
    assert canvas is not None
    labels = canvas.axes[0].get_yticklabels()
    assert [labels[0].get_text(), labels[-1].get_text()] == ["0  conv2d 0", "59  conv2d 0"]
    assert canvas.get_supxlabel() == "the first 60 of 70 layers with constants; the table of layers has all"
    assert not overlaps(canvas, labels)


def test_the_arena_of_a_model_with_an_odd_name_is_valid_svg(report: Report) -> None:
    graph = replace(report.measured.package.model.graph, name='<a & "b">\x00\x1b')
    texts = ["".join(e.itertext()) for e in ET.fromstring(arena_svg(lowered(graph))).iter()]
    assert any(t.startswith('Arena of <a & "b">\\x00\\x1b: ') for t in texts)


def test_progress_takes_brackets_as_they_are() -> None:
    for terminal in (False, True):
        out = io.StringIO()
        display = Display(Console(file=out, width=80, force_terminal=terminal))
        with display, display.step("asking [::1] [/x]"), display.progress("of [red]", total=1) as advance:
            advance(1, "[blue]")
            display._bars.refresh()
        for said in ("asking [::1] [/x]", "of [red]", "[blue]"):
            assert said in out.getvalue()


@pytest.mark.parametrize("width", [40, 65, 107])
def test_a_figure_is_not_parted_from_its_unit(width: int) -> None:
    text = (
        "accuracy 97.7 %, flash 17.8 KiB, RAM 6.39 KiB, latency 15.7 ms, energy 686 µJ, 1,485,072 instructions, device 355"
    )
    lines = wrapped(text, width).plain.splitlines()
    assert " ".join(lines) == text
    assert max(map(len, lines)) <= width
    for line in lines[:-1]:
        assert line.endswith(","), line


def test_text_is_whole_where_the_terminal_is_too_narrow() -> None:
    assert wrapped("median of 5 runs 15.7 ms", 8).plain == "median of 5 runs 15.7 ms"
