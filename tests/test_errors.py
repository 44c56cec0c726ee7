from __future__ import annotations

import pytest

from pipeline.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  \n two.\n"), "two"),
        (ValueError(""), "ValueError"),
        (ValueError("\n"), "ValueError"),
        (ValueError("x" * 500), "x" * 400),
    ],
)
def test_the_first_line_with_text(error: Exception, line: str) -> None:
    assert first_line(error) == line
