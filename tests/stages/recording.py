"""A context for one stage: what it logs is kept in lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import target
from pipeline.devices.resolve import resolve_device
from pipeline.measurement.kind import Kind
from pipeline.stage import Advance, Context


@dataclass
class Recorded:
    metrics_: dict[str, float] = field(default_factory=dict)
    epochs: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    params_: dict[str, Any] = field(default_factory=dict)
    tags_: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)

    def metrics(self, values: Mapping[str, float], kind: Kind = "computed", step: int | None = None) -> None:
        assert kind == "computed"
        if step is None:
            self.metrics_.update(values)
        else:
            self.epochs.append((step, dict(values)))

    def params(self, values: Mapping[str, Any]) -> None:
        self.params_.update(values)

    def tags(self, values: Mapping[str, str]) -> None:
        self.tags_.update(values)

    def file(self, path: Path, folder: str = "") -> None:
        assert path.is_file()
        self.files.append(path)


def context(folder: Path, seed: int = 0) -> tuple[Context, Recorded]:
    log = Recorded()

    @contextmanager
    def progress(description: str, total: int) -> Iterator[Advance]:
        done = 0

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal done
            done += steps

        yield advance
        log.progress.append(f"{description} {done}/{total}")

    return Context(resolve_device(target.load("cortex-m4")), folder, seed, log, progress), log
