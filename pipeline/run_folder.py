"""The folder a run writes: it gets its name when, and only when, all went well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError, RecipeError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """`work` is where stages write; it becomes `final` when, and only when, all went well."""

    work: Path
    final: Path

    def finish(self) -> None:
        """Give the folder its name, before whoever must know that it has it. PipelineError when it can not be renamed."""
        try:
            if self.work.is_dir():
                self.work.rename(self.final)
        except OSError as e:
            raise PipelineError(f"the run's folder can not get its name, {self.final}: {e.strerror}.") from None


@contextmanager
def run_folder(out: Path, prefix: str) -> Iterator[RunFolder]:
    """A new folder `out`/`prefix`-<n>. While it is being made it is called <n>.partial; after a failure or Ctrl-C
    <n>.failed, or it is gone when it is empty. RecipeError when it can not be made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = _reserve(out.resolve(), prefix)
    except OSError as e:
        why = "it is a file" if out.is_file() else e.strerror
        raise RecipeError(f"the run folder can not be made in {out}: {why}. Give another place with --out.") from None
    try:
        yield folder
        folder.finish()
    except BaseException as e:
        _keep_failed(folder, e)
        raise


def _keep_failed(folder: RunFolder, error: BaseException) -> None:
    made = folder.work if folder.work.is_dir() else folder.final
    if not any(made.iterdir()):
        made.rmdir()
        return
    try:
        failed = made.rename(folder.final.with_name(f"{folder.final.name}.failed"))
    except OSError:  # as it may be why the run failed
        failed = made
    if isinstance(error, PipelineError):  # a path in its message leads there still
        error.args = tuple(a.replace(str(made), str(failed)) if isinstance(a, str) else a for a in error.args)
    error.add_note(f"What was made until then is in {failed}.")


def _reserve(out: Path, prefix: str) -> RunFolder:
    """The first free number: mkdir decides between runs that start at once."""
    number = 1
    while True:
        final = out / f"{prefix}-{number}"
        work = out / f"{final.name}.partial"
        if not final.exists() and not (out / f"{final.name}.failed").exists():
            try:
                work.mkdir()
                return RunFolder(work, final)
            except FileExistsError:
                pass
        number += 1
