"""What a run says while it goes on: plain lines, or bars on a terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from pipeline.report.figures import Report
from pipeline.report.progress import Display


def test_progress_without_a_terminal_is_a_few_plain_lines(report: Report) -> None:
    out = io.StringIO()
    with Display(Console(file=out, width=80)) as display:
        with display.stage("train"), display.progress("train: epochs", total=200) as advance:
            for i in range(200):
                advance(1, f"loss {1 / (i + 1):.3f}")
        display.finished(report.stages[0])
    lines = out.getvalue().splitlines()
    assert lines[0] == "train: epochs 200/200, loss 0.005 [0 s]"
    assert lines[1].startswith("train     accuracy 98.1 %, worst class 94.4 %, MACs 412,544")
    assert len(lines) == 2


def test_the_line_after_a_stage_says_kinds_and_parts_no_figure(report: Report) -> None:
    said = "accuracy 96.9 %, worst class 91.4 %, latency 1.23 ms (simulated); energy 53.8 µJ (estimated)  [21.0 s]"
    out = io.StringIO()
    Display(Console(file=out, width=60)).finished(report.stages[-1])
    assert out.getvalue() == f"measure   {said}\n"
    out = io.StringIO()
    Display(Console(file=out, width=60, force_terminal=True, color_system=None)).finished(report.stages[-1])
    lines = out.getvalue().splitlines()
    assert " ".join(" ".join(lines).split()) == f"measure {' '.join(said.split())}"
    assert max(map(len, lines)) <= 60
    assert all(line.startswith(" " * 10) for line in lines[1:])
    for figure in ("96.9 %,", "class 91.4 %,", "1.23 ms", "53.8 µJ", "[21.0 s]"):
        assert any(figure in line for line in lines)


def test_progress_on_a_terminal_shows_a_bar() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=80, force_terminal=True))
    with display, display.stage("train"), display.progress("epochs", total=2) as advance:
        advance(1, "loss 0.5")
        display._bars.refresh()
    text = out.getvalue()
    assert "epochs" in text
    assert "1/2" in text
    assert "loss 0.5" in text


def test_where_the_bar_has_little_room_its_note_is_cut_first() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=80, force_terminal=True, color_system=None))
    with display, display.stage("prune"), display.progress("prune: round 1 of 2: epochs", total=10) as advance:
        advance(3, "loss 0.313, validation 99.1 %")
        display._bars.refresh()
    assert re.search(r"round 1 of 2: epochs .* 3/10 loss 0\.313, val… 0:00:0\d", out.getvalue())


def test_a_stage_that_fails_is_named() -> None:
    out = io.StringIO()
    with pytest.raises(ValueError, match="odd"), Display(Console(file=out, width=80)) as display, display.stage("prune"):
        raise ValueError("odd")
    assert out.getvalue() == "prune     failed\n"
