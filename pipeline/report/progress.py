"""What the user sees while a run works: one live bar per piece of work on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from pipeline.report.figures import KINDS, MEASURES, StageResult, show
from pipeline.report.labelled import wrapped
from pipeline.stage import Advance

_PLAIN_INTERVAL_S = 15.0  # between two lines about the same work when there is no terminal to redraw
_SHOWN = {
    **{name: m.label for name, m in MEASURES.items()},
    "worst_class_recall": "worst class",
    "macs": "MACs",
    "flash_bytes": "flash",
    "ram_bytes": "RAM",
    "latency_us_median": "latency",
    "energy_uj": "energy",
}


class _Counted(ProgressColumn):
    """A column left empty for work of unknown length."""

    def __init__(self, inner: ProgressColumn) -> None:
        super().__init__()
        self._inner = inner

    def render(self, task: Task) -> RenderableType:
        return self._inner(task) if task.total is not None else ""


class _Note(ProgressColumn):
    """What is cut first where the terminal is narrow: a column that may wrap gives way, and its text does not wrap."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], style="dim", no_wrap=True, overflow="ellipsis")


class Display:
    """Used in a `with` block around a run. Everything goes to `console`, which is standard error."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = console.is_terminal
        self._stage = ""
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[stage]:<9}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False),
            _Counted(BarColumn(bar_width=16)),
            _Counted(MofNCompleteColumn()),
            _Note(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not self._live,
        )

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def say(self, text: str | Text) -> None:
        """A line that stays. Names in it are words: nothing in brackets is markup."""
        text = Text(text) if isinstance(text, str) else text
        self.console.print(text, highlight=False, soft_wrap=not self._live)

    @contextmanager
    def step(self, description: str) -> Iterator[None]:
        """Work of unknown length."""
        task = self._bars.add_task(description, total=None, stage=self._stage, note="")
        if not self._live:
            self.say(f"{description}...")
        try:
            yield
        finally:
            self._bars.remove_task(task)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Work inside belongs to this stage, which is named when it fails."""
        self._stage = name
        try:
            yield
        except BaseException as e:
            how = "interrupted" if isinstance(e, KeyboardInterrupt) else "failed"
            self.say(Text.assemble((f"{name:<9}", "bold"), (f" {how}", "red")))
            raise
        finally:
            self._stage = ""

    def finished(self, result: StageResult) -> None:
        """The line that stays after a stage; figures that are not computed say their kind."""
        parts = []
        for kind in KINDS:
            figures = [f for name in _SHOWN for f in result.figures if f.name == name and f.kind == kind]
            said = ", ".join(f"{_SHOWN[f.name]} {show(f.name, f.value)}" for f in figures)
            parts += [said if kind == "computed" else f"{said} ({kind})"] if said else []
        words = f"{'; '.join(parts)}  [{result.seconds:.1f} s]"
        title = f"{result.title:<9} "
        if self._live:
            words = wrapped(words, self.console.width - len(title)).plain.replace("\n", "\n" + " " * len(title))
        line = Text.assemble((title, "bold"), words)
        line.highlight_regex(r"\[[\d.]+ s\]$", "dim")
        self.say(line)

    def progress(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """The stages' `ctx.progress`; "train: epochs" needs no second "train"."""
        description = description.removeprefix(f"{self._stage}: ")
        return self._bar(description, total) if self._live else self._lines(description, total)

    @contextmanager
    def _bar(self, description: str, total: int) -> Iterator[Advance]:
        task: TaskID = self._bars.add_task(description, total=total, stage=self._stage, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            self._bars.advance(task, steps)
            if note:
                self._bars.update(task, note=note)

        try:
            yield advance
        finally:
            self._bars.remove_task(task)

    @contextmanager
    def _lines(self, description: str, total: int) -> Iterator[Advance]:
        done, last_note, shown_at, start = 0, "", time.monotonic(), time.monotonic()

        def line() -> None:
            note = f", {last_note}" if last_note else ""
            self.say(f"{self._stage}: {description} {done}/{total}{note} [{time.monotonic() - start:.0f} s]")

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal done, last_note, shown_at
            done, last_note = done + steps, note or last_note
            if done < total and time.monotonic() - shown_at >= _PLAIN_INTERVAL_S:
                shown_at = time.monotonic()
                line()

        yield advance
        line()
