"""A tracker of the user's: whatever its code raises becomes a message with the place in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pipeline.errors import PipelineError, RecipeError
from pipeline.host.users_code import users_object, wrap_user_errors
from pipeline.measurement.kind import Kind

_TRACKER = ("__enter__", "__exit__", "stage")
_LOG = ("metrics", "params", "tags", "file", "text", "dataset", "files")


@dataclass(frozen=True, eq=False)
class UsersLog:
    """RunLog on the user's."""

    inner: Any
    name: str

    def metrics(self, values: Mapping[str, float], kind: Kind = "computed", step: int | None = None) -> None:
        self._call("metrics", values, kind, step)

    def params(self, values: Mapping[str, Any]) -> None:
        self._call("params", values)

    def tags(self, values: Mapping[str, str]) -> None:
        self._call("tags", values)

    def file(self, path: Path, folder: str = "") -> None:
        self._call("file", path, folder)

    def text(self, text: str, name: str) -> None:
        self._call("text", text, name)

    def dataset(self, name: str, sha256: str, source: str, profile: Mapping[str, Any]) -> None:
        self._call("dataset", name, sha256, source, profile)

    def files(self, folder: Path, name: str) -> None:
        self._call("files", folder, name)

    def _call(self, method: str, *arguments: Any) -> None:
        with wrap_user_errors(f"the log of tracking.tracker {self.name!r} failed in {method}()"):
            getattr(self.inner, method)(*arguments)


class UsersTracker:
    """Tracker on the user's class, which is called as Name(experiment, run_name)."""

    run_id: str
    page: str
    log: UsersLog

    def __init__(self, name: str, folders: Sequence[Path], experiment: str, run_name: str) -> None:
        self._name, self._what = name, f"tracking.tracker {name!r}"
        cls = users_object("tracking.tracker", name, folders, "class")
        self._require(cls, _TRACKER, "it")
        with wrap_user_errors(f"{self._what} failed for ({experiment!r}, {run_name!r})"):
            self._inner = cls(experiment, run_name)

    def __enter__(self) -> Self:
        with wrap_user_errors(f"{self._what} failed when the run began"):
            self._inner.__enter__()
        self._require(self._inner, ("run_id", "page", "log"), "it")
        self.run_id, self.page = str(self._inner.run_id), str(self._inner.page)
        self.log = self._log(self._inner.log)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with _ending(f"{self._what} failed when the run ended", error):
            self._inner.__exit__(kind, error, trace)

    @contextmanager
    def stage(self, name: str, params: Mapping[str, Any]) -> Iterator[UsersLog]:
        with wrap_user_errors(f"{self._what} failed when stage {name!r} began"):
            nested = self._inner.stage(name, params)
            log = self._log(nested.__enter__())
        try:
            yield log
        except BaseException as error:
            with _ending(f"{self._what} failed when stage {name!r} ended", error):
                nested.__exit__(type(error), error, error.__traceback__)
            raise
        with wrap_user_errors(f"{self._what} failed when stage {name!r} ended"):
            nested.__exit__(None, None, None)

    def _log(self, inner: Any) -> UsersLog:
        self._require(inner, _LOG, "its log")
        return UsersLog(inner, self._name)

    def _require(self, part: Any, names: Sequence[str], called: str) -> None:
        for name in names:
            if not hasattr(part, name):
                raise RecipeError(
                    f"{self._what} is no tracker: {called} has no `{name}`. pipeline/tracking/tracker.py says what one has."
                )


@contextmanager
def _ending(what: str, error: BaseException | None) -> Iterator[None]:
    """Around the end of a part of the user's. What fails there is a note on the `error` that ended it, if one did: that one
    says what happened, and the command's exit code."""
    try:
        with wrap_user_errors(what):
            yield
    except PipelineError as e:
        if error is None:
            raise
        if e is not error:
            error.add_note(str(e))
