"""Ctrl-C and SIGTERM: what they raise, and blocks that they wait for."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.errors import Terminated

_asked: list[type[KeyboardInterrupt]] = []  # by signals, the last one last
_waiting: list[None] = []  # one for each block that signals wait for


def end_on_signal(signum: int, frame: Any) -> None:
    _asked.append(KeyboardInterrupt if signum == signal.SIGINT else Terminated)
    if not _waiting:
        raise _asked[-1]


def end_if_asked(seen: int = 0) -> None:
    """Ctrl-C once more, when it was lost: Python drops what is raised in a callback of the garbage collector. The first
    `seen` do not count."""
    if len(_asked) > seen:
        raise _asked[-1]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block, which is short: a transaction cut in two keeps a database locked."""
    seen = len(_asked)
    _waiting.append(None)
    try:
        yield
    finally:
        _waiting.pop()
    end_if_asked(seen)
