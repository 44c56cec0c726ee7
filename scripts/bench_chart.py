"""The page's picture: a panel a model, in it a bar a core and mode. SVG as text, so the same figures give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bench_rows import UNFIT, Baseline, Row, Subject, Unfit, millions

from pipeline.svg import document

PANEL, GAP, MARGIN = 460, 28, 20  # px: a panel's width, between panels, around all
NAMES, NUMBERS = 92, 62  # px left of the bars, and right of the longest
BAR, SPACE, HEAD = 12, 10, 44  # px: a bar's height, between cores, a panel's title
TOP = 64  # px: the picture's title and its legend
FILLS = {"speed": "#3182bd", "balanced": "#74c476", "size": "#fdae6b"}
PEER = "#8a8f98"
FAINT = "#d9d9d9"

Bars = list[tuple[str, str, int | None, str]]  # fill, words for its tooltip, instructions, what stands beside it


def chart_svg(rows: Sequence[Row | Unfit], targets: Sequence[str], baseline: Baseline) -> str:
    """An SVG document, complete in itself; hovering over a bar tells what it is."""
    subjects = list(dict.fromkeys(row.subject for row in rows))
    panels = [_groups(s, [r for r in rows if r.subject == s], targets, baseline) for s in subjects]
    columns = min(2, len(panels))
    heights = [HEAD + sum(len(bars) * BAR + SPACE for _, bars in groups) for groups in panels]
    width = 2 * MARGIN + columns * PANEL + (columns - 1) * GAP
    parts = list(_legend(rows, baseline))
    top = TOP
    for i in range(0, len(panels), columns):
        for k, (subject, groups) in enumerate(zip(subjects[i : i + columns], panels[i : i + columns], strict=True)):
            parts += _panel(subject, groups, MARGIN + k * (PANEL + GAP), top)
        top += max(heights[i : i + columns]) + SPACE
    height = top + MARGIN
    return document(width, height, "\n".join(parts))


def _groups(
    subject: Subject, rows: Sequence[Row | Unfit], targets: Sequence[str], baseline: Baseline
) -> list[tuple[str, Bars]]:
    """By target the bars of one model, the baseline's on top of those of its core."""
    groups = []
    for target in targets:
        mine = [row for row in rows if row.target == target]
        bars: Bars = [_bar_of(row) for row in mine]
        peer = baseline.of(subject.sha256)
        if peer and any(isinstance(row, Row) and row.ratio for row in mine):
            bars.insert(0, (PEER, baseline.engine, peer.instructions, millions(peer.instructions)))
        groups.append((target, bars))
    return groups


def _bar_of(row: Row | Unfit) -> tuple[str, str, int | None, str]:
    fill = FILLS[row.optimize]
    if isinstance(row, Unfit):
        return fill, row.optimize, None, UNFIT
    return fill, row.optimize, row.instructions, millions(row.instructions)


def _legend(rows: Sequence[Row | Unfit], baseline: Baseline) -> Iterator[str]:
    yield _text(MARGIN, 26, "Instructions of one inference, counted in QEMU (simulated)", size=15, weight="bold")
    modes = [mode for mode in FILLS if any(row.optimize == mode for row in rows)]
    entries = [(FILLS[mode], f"--optimize {mode}") for mode in modes]
    if any(isinstance(row, Row) and row.ratio for row in rows):
        entries.insert(0, (PEER, f"{baseline.engine} on {baseline.core}"))
    x = float(MARGIN)
    for fill, words in entries:
        yield f'<rect x="{x:.1f}" y="38" width="11" height="11" fill="{fill}"/>'
        yield _text(x + 16, 48, words)
        x += 16 + 6.4 * len(words) + 18


def _panel(subject: Subject, groups: Sequence[tuple[str, Bars]], left: float, top: float) -> Iterator[str]:
    longest = max((n for _, bars in groups for _, _, n, _ in bars if n is not None), default=1)
    room = PANEL - NAMES - NUMBERS
    axis = left + NAMES
    yield _text(left, top + 24, subject.name, size=13, weight="bold")
    y = top + HEAD - 8
    for target, bars in groups:
        yield _text(axis - 8, y + len(bars) * BAR / 2 + 4, target, anchor="end")
        for fill, words, count, beside in bars:
            length = room * count / longest if count is not None else 0.0
            if count is not None:
                title = f"{subject.name} on {target}, {words}: {count:,} instructions"
                yield (
                    f'<rect x="{axis:.1f}" y="{y:.1f}" width="{length:.1f}" height="{BAR - 2}" fill="{fill}">'
                    f"<title>{escape(title)}</title></rect>"
                )
            yield _text(axis + length + 4, y + BAR - 3, beside, size=10)
            y += BAR
        y += SPACE
    bottom = y - SPACE
    yield f'<line x1="{axis:.1f}" x2="{axis:.1f}" y1="{top + HEAD - 12:.1f}" y2="{bottom:.1f}" stroke="{FAINT}"/>'


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 11, weight: str = "normal") -> str:
    look = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(words)}</text>'
