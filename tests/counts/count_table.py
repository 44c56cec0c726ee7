"""The table of what networks and kernels cost, and how it compares with what they cost now."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parent / "counts.toml"
TOLERANCE_PERCENT = 0.5
HEADING = """\
# Instructions of one inference, counted on emulated cores, and the bytes of the code: of whole networks and of each kernel
# in them, then of single operators (tests/ops/cases). Written by `make counts`; a change is read in the diff.
#
# Exact for one compiler, on every machine: random weights and inputs come from fixed seeds, and what a program executes is
# the architecture's, whichever QEMU emulates it. Code bytes of a kernel in a network are those of its own functions: 0 where
# all of it is inlined.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """`subject`: a network, or `<operator>/<case>`; `kernel`: one of its kernels, or "all" of a network."""

    subject: str
    core: str
    kernel: str

    def __str__(self) -> str:
        return f"{self.subject} on {self.core}, {self.kernel}"


@dataclass(frozen=True, slots=True)
class Cost:
    instructions: int
    code_bytes: int


@dataclass(frozen=True, slots=True)
class Table:
    compiler: str
    rows: Mapping[Key, Cost]

    @classmethod
    def read(cls, path: Path = TABLE) -> Table:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(table["compiler"], {Key(*row[:3]): Cost(*row[3:]) for row in table["rows"]})

    def write(self, path: Path = TABLE) -> None:
        cells = [
            (f'"{key.subject}",', f'"{key.core}",', f'"{key.kernel}",', f"{cost.instructions:_},", f"{cost.code_bytes:_}")
            for key, cost in self.rows.items()
        ]
        widths = [max(len(row[i]) for row in cells) for i in range(5)]
        lines = [
            f"    [{a:<{widths[0]}} {b:<{widths[1]}} {c:<{widths[2]}} {n:>{widths[3]}} {size:>{widths[4]}}],"
            for a, b, c, n, size in cells
        ]
        columns = "    # network or case, core, kernel, instructions, code bytes"
        text = "\n".join([f'compiler = "{self.compiler}"', "rows = [", columns, *lines, "]", ""])
        path.write_text(f"{HEADING}\n{text}", encoding="utf-8")

    def on(self, core: str) -> dict[Key, Cost]:
        return {key: cost for key, cost in self.rows.items() if key.core == core}


def differences(recorded: Mapping[Key, Cost], counted: Mapping[Key, Cost]) -> list[str]:
    """A sentence for each number beyond the tolerance, above or below, and for each row that one of the two lacks."""
    lacking = [f"{key}: no row in {TABLE.name}" for key in counted if key not in recorded]
    stale = [f"{key}: a row in {TABLE.name} for nothing that is counted" for key in recorded if key not in counted]
    return [*_numbers(recorded, counted), *lacking, *stale]


def _numbers(recorded: Mapping[Key, Cost], counted: Mapping[Key, Cost]) -> Iterable[str]:
    for key in recorded:
        if key in counted:
            old, new = recorded[key], counted[key]
            for was, now, unit in (
                (old.instructions, new.instructions, "instructions"),
                (old.code_bytes, new.code_bytes, "bytes of code"),
            ):
                if abs(now - was) * 100 > was * TOLERANCE_PERCENT:
                    factor = f", {now / was:.3f} times as many" if was else ""
                    yield f"{key}: {now:,} {unit}, recorded are {was:,}{factor}"
