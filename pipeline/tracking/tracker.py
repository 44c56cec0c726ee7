"""Recording a run: what a tracker must do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from pipeline.errors import did_you_mean
from pipeline.host.users_code import is_reference
from pipeline.stage import StageLog

MLFLOW = "mlflow"


@dataclass(frozen=True, slots=True)
class TrackingRecipe:
    """The recipe's `[tracking]` table. `tracker` is "mlflow", or a class of yours, "package.module:Name", called as
    Name(experiment, run_name)."""

    tracker: str = MLFLOW

    def __post_init__(self) -> None:
        if self.tracker != MLFLOW and not is_reference(self.tracker):
            raise ValueError(
                f"tracker = {self.tracker!r} is not known.{did_you_mean(self.tracker, [MLFLOW])} Use {MLFLOW!r}, or your "
                'own class as "package.module:Name".'
            )


class RunLog(StageLog, Protocol):
    """The log of a run: what a stage may write, and the data set, folders and texts that only the parent records. Files are
    to be read or copied at once: when all went well, the run's folder gets another name."""

    def text(self, text: str, name: str) -> None: ...
    def dataset(self, name: str, sha256: str, source: str, profile: Mapping[str, Any]) -> None: ...
    def files(self, folder: Path, name: str) -> None: ...


class Tracker(Protocol):
    """Used in a `with` block, which is the parent run: leaving it normally marks it FINISHED; an exception, Ctrl-C or
    SIGTERM marks it FAILED with the message in the tag `error`. `page` says where a browser finds the run."""

    run_id: str
    page: str

    @property
    def log(self) -> RunLog: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None: ...
    def stage(self, name: str, params: Mapping[str, Any]) -> AbstractContextManager[RunLog]:
        """A nested run, ended as the parent is."""
