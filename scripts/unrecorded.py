"""What a stage needs of a run around it, where there is none: a script's stages log to nothing and show no progress."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.measurement.kind import Kind
from pipeline.stage import Advance


class Unrecorded:
    """A stage's log that keeps its final figures alone."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    def metrics(self, values: Mapping[str, float], kind: Kind = "computed", step: int | None = None) -> None:
        if step is None:
            self.figures.update(values)

    def params(self, values: Mapping[str, Any]) -> None: ...
    def tags(self, values: Mapping[str, str]) -> None: ...
    def file(self, path: Path, folder: str = "") -> None: ...


@contextlib.contextmanager
def silent(description: str, total: int) -> Iterator[Advance]:
    yield lambda steps=1, note="": None
