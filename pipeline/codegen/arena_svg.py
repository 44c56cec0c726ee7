"""A picture of the arena over time: one bar per activation, from the layer that writes it to the last that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from pipeline.codegen.to_c import describe
from pipeline.display import plain, short
from pipeline.ir import Graph
from pipeline.lowering.arena import Plan
from pipeline.lowering.lower import Lowered
from pipeline.lowering.sizes import shape_text
from pipeline.svg import INK, document

COLUMN, HEIGHT = 64, 420  # px per layer; px of the whole arena
LEFT, RIGHT, TOP, BOTTOM = 92, 24, 64, 150
LETTER = 7.4  # px of a rather wide letter at 11 px, in the widest of the usual fonts
FILLS = (
    "#9ecae1",
    "#a1d99b",
    "#fdae6b",
    "#bcbddc",
    "#fdd0a2",
    "#c7e9c0",
    "#c6dbef",
    "#dadaeb",
)  # dark text is legible on each
SCRATCH = "#bdbdbd"
FAINT, PEAK = "#d9d9d9", "#c00"
MIN_WIDTH = 560


def arena_svg(lowered: Lowered) -> str:
    """An SVG document, complete in itself; hovering over a bar names it."""
    graph, plan = lowered.graph, lowered.arena
    columns = len(graph.ops) + 2  # the input before the first layer, the output after the last
    width = max(MIN_WIDTH, LEFT + columns * COLUMN + RIGHT)
    height = TOP + HEIGHT + BOTTOM
    return document(width, height, "\n".join(_parts(graph, plan, width)))


def _parts(graph: Graph, plan: Plan, width: int) -> Iterator[str]:
    total = max(plan.arena_bytes, 1)

    def x(column: float) -> float:
        return LEFT + (column + 1) * COLUMN

    def y(offset: float) -> float:
        return round(TOP + HEIGHT * (1 - offset / total), 1)

    peak = max(plan.live_bytes, default=0)
    yield _text(LEFT, 24, f"Arena of {graph.name}: {plan.arena_bytes:,} bytes (computed)", size=15, weight="bold")
    busiest = [f"{i}" for i, live in enumerate(plan.live_bytes) if live == peak]
    where = f"layer{'s' if len(busiest) > 1 else ''} {', '.join(busiest)}"
    yield _text(LEFT, 42, f"Most in use at once: {peak:,} bytes, in {where}. Read left to right: one column a layer.")
    for tick in _ticks(total):
        yield f'<line x1="{LEFT}" x2="{x(len(graph.ops) + 1)}" y1="{y(tick)}" y2="{y(tick)}" stroke="{FAINT}"/>'
        yield _text(LEFT - 8, y(tick) + 4, f"{tick:,}", anchor="end")
    yield _text(LEFT - 8, TOP + HEIGHT + 18, "bytes", anchor="end")
    names = ["input", *(f"{i} {op.kind}" for i, op in enumerate(graph.ops)), "output"]
    for column, name in enumerate(names):
        at = x(column - 0.5)
        yield _text(at, TOP + HEIGHT + 14, name, rotate=(at, TOP + HEIGHT + 14))
    for i, (name, slot) in enumerate(sorted(plan.slots.items(), key=lambda item: item[1].first)):
        writer = next(((k, op) for k, op in enumerate(graph.ops) if name in op.outputs), None)
        layer, said = (f"{writer[0]} {writer[1].kind}", describe(*writer, graph)) if writer else ("input", "the input")
        own_name = () if writer and name == writer[1].kind else (name,)
        label = (layer, f"{slot.nbytes:,} B", *own_name, shape_text(graph[name]))
        successors = [
            s for s in plan.slots.values() if (s.offset, s.nbytes, s.first) == (slot.offset, slot.nbytes, slot.last)
        ]
        last = slot.last - 1 if successors and slot.first < slot.last else slot.last  # computed in place: drawn once
        box = (x(slot.first), y(slot.offset + slot.nbytes), x(last + 1), y(slot.offset))
        yield from _bar(box, FILLS[i % len(FILLS)], label, f"{name}: {slot.nbytes:,} bytes at {slot.offset:,}; {said}")
    for i, slot in plan.scratch.items():
        box = (x(i), y(slot.offset + slot.nbytes), x(i + 1), y(slot.offset))
        yield from _bar(box, SCRATCH, ("scratch", f"{slot.nbytes:,} B"), f"scratch of layer {i}: {slot.nbytes:,} bytes")
    end = x(len(graph.ops) + 1)
    yield f'<line x1="{LEFT}" x2="{end}" y1="{y(total)}" y2="{y(total)}" stroke="{PEAK}" stroke-width="2"/>'
    yield _text(end, y(total) - 6, f"{plan.arena_bytes:,} bytes", anchor="end", fill=PEAK)


def _bar(box: tuple[float, float, float, float], fill: str, label: tuple[str, ...], title: str) -> Iterator[str]:
    """A rectangle with as many lines of the label as fit in it; all it has to say in the tooltip."""
    left, top, right, bottom = box
    width, height = right - left, max(bottom - top, 1)
    yield (
        f'<rect x="{left}" y="{top}" width="{width}" height="{height:.1f}" fill="{fill}" stroke="{INK}" stroke-width="0.6">'
        f"<title>{escape(plain(title))}</title></rect>"
    )
    room = int((width - 6) / LETTER)
    lines = [short(line, room) for line in label[: int(height / 13)]] if room >= 3 else []
    for k, line in enumerate(lines):
        yield _text(left + 4, (top + bottom) / 2 + 4 + 13 * (k - (len(lines) - 1) / 2), line)


def _ticks(total: int) -> range:
    """Four to eight round numbers of bytes up to `total`."""
    step = 16
    while total / step > 8:
        step *= 2
    return range(0, total + 1, step)


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: int = 11,
    weight: str = "normal",
    fill: str = INK,
    rotate: tuple[float, float] | None = None,
) -> str:
    turn = f' transform="rotate(55 {rotate[0]:.1f} {rotate[1]:.1f})"' if rotate else ""
    look = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{fill}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}{turn}>{escape(plain(words))}</text>'
