"""How Python values become C text: identifiers, literals, comments, rows of numbers."""

from __future__ import annotations

import re

import numpy as np

from pipeline.ir import Array

LINE = 110  # columns of a row of numbers


def identifier(name: str) -> str:
    """The C identifier that resembles `name`: "features.0/conv" becomes features_0_conv. It may be a keyword: add to it."""
    word = re.sub(r"_+", "_", re.sub(r"[^0-9A-Za-z_]", "_", name)).strip("_") or "model"
    return f"n{word}" if word[0].isdigit() else word


class Names:
    """Identifiers handed out once each; a second tensor that would be called the same gets a number."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, name: str) -> str:
        word = candidate = identifier(name)
        n = 2
        while candidate in self._taken:
            candidate, n = f"{word}_{n}", n + 1
        self._taken.add(candidate)
        return candidate


def comment_text(text: str) -> str:
    """`text` made safe inside a comment: printable ASCII without escapes, trigraphs and ends of comment."""
    printable = re.sub(r"[^ -~]|\\|\?", "_", text)
    return printable.replace("*/", "* ").replace("/*", " *")


def string_text(text: str) -> str:
    """`text` made safe inside a string literal."""
    return comment_text(text).replace('"', "'")


def float_literal(value: float) -> str:
    """A literal that reads back as exactly `value`: float when float32 holds it, else double."""
    single = float(np.float32(value)) == value
    text = f"{value:.9g}" if single else f"{value:.17g}"
    if not any(c in text for c in ".en"):
        text += ".0"
    return text + ("f" if single else "")


def integer_literal(value: int) -> str:
    return "INT32_MIN" if value == -(2**31) else str(value)


def integer_rows(values: Array, indent: int) -> str:
    """The flattened array as comma-separated rows of at most LINE columns, `indent` spaces in front."""
    flat = values.reshape(-1).tolist()
    words = [float_literal(v) for v in flat] if values.dtype.kind == "f" else [integer_literal(v) for v in flat]
    width = max(map(len, words), default=1)
    per_row = max(1, (LINE - indent) // (width + 2))
    rows = (", ".join(w.rjust(width) for w in words[i : i + per_row]) for i in range(0, len(words), per_row))
    pad = " " * indent
    return ",\n".join(pad + row for row in rows)
