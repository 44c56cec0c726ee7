"""docs/benchmarks.md as data: its tables of layers, and what it was made with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


@dataclass(frozen=True, slots=True)
class Layers:
    """One model's on one core: by layer the variant and its instructions; `total` is what the core's own table says."""

    model: str
    core: str
    optimize: str
    sha256: str
    variants: tuple[str, ...]
    instructions: tuple[int, ...]
    total: int


def compiler(page: str) -> str:
    return page.split("- Made with ", 1)[1].split(" and QEMU", 1)[0]


def layers(page: str) -> list[Layers]:
    """Every table below "Where the instructions go"."""
    _, *tables = re.split(r"^### ", page, flags=re.MULTILINE)
    return [_read(table, page) for table in tables]


def _read(table: str, page: str) -> Layers:
    head = re.match(r"(?P<model>\S+) on (?P<core>\S+), (?P<optimize>\S+)\n", table)
    assert head is not None, table[:80]
    rows = [_cells(line) for line in table.splitlines() if re.match(r"\| \d+ \|", line)]
    own = next(c for c in map(_cells, _section(page, head["core"])) if c[:2] == [head["model"], head["optimize"]])
    file = next(c for c in map(_cells, _section(page, "Models")) if c[0] == head["model"])
    return Layers(
        **head.groupdict(),
        sha256=file[4].strip("`"),
        variants=tuple(row[3].strip("`") for row in rows),
        instructions=tuple(_number(row[4]) for row in rows),
        total=_number(own[2]),
    )


def _section(page: str, title: str) -> list[str]:
    section = page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return [line for line in section.splitlines() if line.startswith("|")]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _number(cell: str) -> int:
    return int(cell.replace(",", ""))
