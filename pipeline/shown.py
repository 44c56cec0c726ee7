"""Names that came from outside, as a reader sees them: classes, layers, models. JSON and the manifest keep them whole."""

from __future__ import annotations


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
