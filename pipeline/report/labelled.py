"""Lines for a terminal: a label, and beside it text that is broken where it does not part a figure from its unit."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

LABEL_WIDTH = 13  # "one inference"
GOOD, BAD, WARNING = "bold green", "bold red", "bold black on yellow"  # legible on dark and on light terminals
_KEPT = "\N{NO-BREAK SPACE}"


def labelled(rows: Iterable[tuple[str | Text, str]], width: int) -> Table:
    """One row each, for a terminal `width` columns wide; a label without a style of its own is bold."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=LABEL_WIDTH, no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(label if isinstance(label, Text) else Text(label, style="bold"), wrapped(text, width - LABEL_WIDTH - 2))
    return grid


def place_line(label: str, place: str) -> Text:
    """For printing with soft_wrap: the terminal itself wraps it, so that a path or an address can be copied whole."""
    return Text.assemble((f"{label:<{LABEL_WIDTH + 1}} ", "bold"), place)


def wrapped(text: str, width: int) -> Text:
    """`text` in lines of at most `width`; a number stays with the words around it ("1.24 ms", "device 355")."""
    kept = re.sub(r"(?<=\d) (?=\S)|(?<=[\w:]) (?=\d)", _KEPT, text)
    if width <= max(map(len, kept.split(" ")), default=0):
        return Text(text)
    return Text(textwrap.fill(kept, width, break_on_hyphens=False).replace(_KEPT, " "))
