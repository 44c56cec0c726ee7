"""Names and sizes as a reader sees them. JSON and the manifest have names whole and sizes in bytes."""

from __future__ import annotations

from collections.abc import Sequence


def plain(name: str) -> str:
    """`name` on one line: what can not be printed (a line break, a terminal's escape) as Python has it: `\\n`, `\\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def short(name: str, most: int) -> str:
    """`plain(name)` in at most `most` characters, at least 3: the middle of a longer one is an ellipsis, as both ends of a
    name tell."""
    name = plain(name)
    if len(name) <= most:
        return name
    end = most // 2
    return f"{name[: most - 1 - end]}…{name[-end:]}"


def layer_name(kind: str, name: str) -> str:
    """`conv2d features.0`: the layers of an nn.Sequential are called 0, 1, 2, which tells nothing by itself."""
    return kind if name == kind else f"{kind} {plain(name)}"


def byte_size(count: float) -> str:
    """`17.8 KiB`: powers of 1024, as memories come in; with an i, so that nobody takes it for 17,800 bytes."""
    return scaled(count, ("B", "KiB", "MiB", "GiB"), 1024)


def scaled(value: float, units: Sequence[str], step: int = 1000) -> str:
    """Three digits, and the unit that lets them be less than 999.5: never 1e+03. Whole values below `step` stay exact."""
    if abs(value) < step and float(value).is_integer():
        return f"{value:,.0f} {units[0]}".rstrip()
    power = 0
    while abs(value) >= 999.5 and power < len(units) - 1:
        value, power = value / step, power + 1
    return f"{value:.3g} {units[power]}".rstrip()
