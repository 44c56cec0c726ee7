"""Where runs are recorded: a parent run per `pipeline run`, a nested run per stage. The only file that imports mlflow."""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import os
import posixpath
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from pipeline.errors import TrackError
from pipeline.host.signals import uninterrupted
from pipeline.measurement.kind import Kind
from pipeline.tracking.store import alone, check_store, database_file, is_new, server_address, store_uri, without_password

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_VALUE_LIMIT = 5000  # MLflow refuses longer tag values (and longer parameters, at 6000)
# MLflow's pages show agents and prompts unless they are told that an experiment trains models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
_PAGE = "{base}/#/experiments/{experiment}/runs/{run}?workflowType=machine_learning"
_DIGEST_LIMIT = 36  # of a dataset's digest, in MLflow's schema
_DRIVERS = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # imported: installed
_NAME_LIMIT = 250  # of a metric's name
_NOT_IN_NAMES = re.compile(r"[^\w./ -]")  # MLflow's rule; it takes colons too, but not on every system


def _import_mlflow() -> None:
    """MLflow, without its start-up chatter and without its telemetry: nothing leaves this machine unasked."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its default keeps a dead server's user waiting minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    import mlflow.tracking  # noqa: F401

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def git_commit(folder: Path) -> str:
    """The commit of the repository around `folder`, with "-dirty" when files in it differ; "" where there is none."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


@dataclass(eq=False)
class MlflowLog:
    """RunLog on one MLflow run."""

    store: _Store
    run_id: str
    _kinds: dict[Kind, set[str]] = field(default_factory=dict)
    _last_step: dict[str, int] = field(default_factory=dict)

    def metrics(self, values: Mapping[str, float], kind: Kind = "computed", step: int | None = None) -> None:
        from mlflow.entities import Metric

        values = {metric_name(name): value for name, value in values.items()}
        now = int(time.time() * 1000)
        # A figure without a step is the final one: MLflow shows the value at the highest step as the run's.
        steps = {name: self._last_step.get(name, -1) + 1 if step is None else step for name in values}
        self._last_step |= {name: max(at, self._last_step.get(name, -1)) for name, at in steps.items()}
        metrics = [Metric(name, float(value), now, steps[name]) for name, value in values.items()]
        self.store.call(lambda c: c.log_batch(self.run_id, metrics=metrics))
        known = self._kinds.setdefault(kind, set())
        if not known.issuperset(values):
            known.update(values)
            self.tags({f"kind.{kind}": ", ".join(sorted(known))})

    def params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, _clipped(value)) for name, value in values.items()]
        self.store.call(lambda c: c.log_batch(self.run_id, params=params))

    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(name, _clipped(value)) for name, value in values.items()]
        self.store.call(lambda c: c.log_batch(self.run_id, tags=tags))

    def file(self, path: Path, folder: str = "") -> None:
        self.store.call(lambda c: c.log_artifact(self.run_id, str(path), folder or None))

    def files(self, folder: Path, name: str) -> None:
        self.store.call(lambda c: c.log_artifacts(self.run_id, str(folder), name))

    def text(self, text: str, name: str) -> None:
        self.store.call(lambda c: c.log_text(self.run_id, text, name))

    def dataset(self, name: str, sha256: str, source: str, profile: Mapping[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entity = Dataset(
            name, sha256[:_DIGEST_LIMIT], "local", json.dumps({"uri": source}), profile=json.dumps(dict(profile))
        )
        use = DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
        self.store.call(lambda c: c.log_inputs(self.run_id, datasets=[use]))
        self.tags({"data_sha256": sha256})


def metric_name(name: str) -> str:
    """`name` as MLflow takes it: class names are part of metric names, and may hold anything. A name that had to change ends
    in a digest of what it was, so that no two become one."""
    clean = _NOT_IN_NAMES.sub("_", name)[:_NAME_LIMIT]
    if clean == name and posixpath.normpath(name) == name:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{clean.replace('/', '_').replace('.', '_')[: _NAME_LIMIT - 7]}-{digest}"


def _clipped(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _VALUE_LIMIT else text[: _VALUE_LIMIT - 3] + "..."


def _create_tables(uri: str) -> None:
    """A new SQLite store, whole or not at all: where MLflow makes one in place, Ctrl-C leaves one that never opens again."""
    from mlflow.store.db import utils

    database = database_file(uri)
    assert database is not None  # is_new
    work = database.with_name(f"{database.name}.new")
    work.unlink(missing_ok=True)
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{work}")
    try:
        utils._initialize_tables(engine)  # `alone` is our lock; MLflow's own lies in /tmp, of the user who came first
    finally:
        engine.dispose()
    work.replace(database)


class _Store:
    """An MLflow client whose failures are TrackErrors that name the store."""

    def __init__(self, uri: str) -> None:
        _import_mlflow()
        from mlflow.tracking import MlflowClient

        self.uri, self.shown = uri, without_password(uri)
        self.client: MlflowClient | None = None
        if is_new(uri):
            self.call(lambda _: _create_tables(uri))
        self.client = self.call(lambda _: MlflowClient(uri))

    def call(self, action: Callable[[Any], Any]) -> Any:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with uninterrupted() if database_file(self.uri) and self.client else nullcontext():
                return action(self.client)
        except ModuleNotFoundError as e:
            package = _DRIVERS.get(e.name or "", e.name)
            raise TrackError(
                f"The MLflow store {self.shown} needs the Python package {package!r}, which is not installed. Install it "
                f"with: {sys.executable} -m pip install '{package}'."
            ) from e
        except (MlflowException, SQLAlchemyError, OSError) as e:
            advice = " Start it again, or unset MLFLOW_TRACKING_URI." if server_address(self.uri) else ""
            raise TrackError(f"The MLflow store {self.shown} refused or failed: {self._reason(e)}{advice}") from e

    def _reason(self, error: Exception) -> str:
        """In one paragraph, without the statement that failed and without the password."""
        text = re.split(r"\[SQL:|\(Background on this error", str(error))[0]
        secret = urlsplit(self.uri).password
        text = textwrap.shorten(text.replace(secret, "***") if secret else text, 400, placeholder=" ...")
        return text if text.endswith(".") else f"{text}."

    def experiment(self, name: str) -> str:
        found = self.call(lambda c: c.get_experiment_by_name(name))
        if found is None:
            database = database_file(self.uri)
            artifacts = (database.parent / "artifacts").resolve().as_uri() if database else None
            return str(self.call(lambda c: c.create_experiment(name, artifact_location=artifacts, tags=_EXPERIMENT_TAGS)))
        if found.lifecycle_stage != "active":
            raise TrackError(
                f"The MLflow experiment {name!r} in {self.shown} was deleted. Restore it (`mlflow experiments restore "
                f"--experiment-id {found.experiment_id}`) or give the recipe another name."
            )
        return str(found.experiment_id)


class MlflowTracker:
    """Tracker on an MLflow store: `experiment` is the recipe's name, `run_name` the run folder's."""

    run_id: str
    page: str
    log: MlflowLog

    def __init__(self, experiment: str, run_name: str, uri: str | None = None) -> None:
        self._uri = uri or store_uri()
        self._experiment, self._run_name = experiment, run_name

    def __enter__(self) -> Self:
        check_store(self._uri)
        with alone(self._uri):
            self._store = _Store(self._uri)
            self._experiment_id = self._store.experiment(self._experiment)
        self.run_id = self._create(self._run_name, {})
        self.log = MlflowLog(self._store, self.run_id)
        server = server_address(self._uri)
        page = _PAGE.format(base=server or "http://127.0.0.1:5000", experiment=self._experiment_id, run=self.run_id)
        self.page = page if server else f"pipeline ui, then {page}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._end(self.log, error)

    @contextmanager
    def stage(self, name: str, params: Mapping[str, Any]) -> Iterator[MlflowLog]:
        log = MlflowLog(self._store, self._create(name, {"mlflow.parentRunId": self.run_id, "stage": name}))
        try:
            log.params(params)
            yield log
        except BaseException as error:
            self._end(log, error)
            raise
        self._end(log, None)

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        source = {"mlflow.source.name": "pipeline", "mlflow.source.type": "LOCAL", "mlflow.user": _user()}
        run = self._store.call(lambda c: c.create_run(self._experiment_id, run_name=name, tags={**source, **tags}))
        return str(run.info.run_id)

    def _end(self, log: MlflowLog, error: BaseException | None) -> None:
        if error is None:
            return self._terminate(log, "FINISHED")
        message = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
        try:
            log.tags({"error": message, "mlflow.note.content": message})
            self._terminate(log, "FAILED")
        except TrackError as second:  # the first error is the one to report
            if not isinstance(error, TrackError):
                print(f"pipeline: {second}", file=sys.stderr)
        return None

    def _terminate(self, log: MlflowLog, status: str) -> None:
        self._store.call(lambda c: c.set_terminated(log.run_id, status))


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
