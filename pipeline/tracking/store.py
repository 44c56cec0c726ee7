"""The MLflow store's address: the default one, whether it can work, and its pages in a browser. Imports no mlflow."""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import TrackError

DEFAULT_STORE = "sqlite:///mlflow_runs/mlflow.db"
_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
_INSTEAD = f"Mend MLFLOW_TRACKING_URI, or unset it to record into {DEFAULT_STORE}."


def store_uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE


def without_password(uri: str) -> str:
    """As it may be shown: "postgresql://joe:***@host/runs"."""
    return re.sub(r"(://[^/:@]*):.*@", r"\1:***@", uri)


def database_file(uri: str) -> Path | None:
    """The file of a sqlite store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def check_store(uri: str) -> None:
    """TrackError, within seconds, when the store can not work: MLflow itself would try again for minutes."""
    scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else uri
    if scheme in ("http", "https"):
        _check_server(uri)
    elif scheme == "file" or ("://" not in uri and scheme not in _SCHEMES):
        folder = Path(uri.removeprefix("file:").removeprefix("//")).resolve()
        raise TrackError(
            f"The MLflow store {uri} is a folder, and MLflow no longer records into folders. Give a database instead: "
            f"MLFLOW_TRACKING_URI=sqlite:///{folder}/mlflow.db. `mlflow migrate-filestore` takes runs of old along."
        )
    elif scheme not in _SCHEMES:
        raise TrackError(
            f"The MLflow store {without_password(uri)} is of no kind that MLflow knows; it must begin with "
            f"{', '.join(f'{s}:' for s in _SCHEMES[:-1])} or be {_SCHEMES[-1]}. {_INSTEAD}"
        )
    elif uri in ("sqlite://", "sqlite:///", "sqlite:///:memory:"):
        raise TrackError(f"The MLflow store {uri} names no file, so nothing of the run would stay. {_INSTEAD}")
    elif database := database_file(uri):
        _check_database(database)


def server_address(uri: str) -> str:
    """An http(s) store as a browser takes it, without name and password; "" for other stores."""
    scheme, _, rest = uri.rstrip("/").partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme in ("http", "https") else ""


def _check_server(uri: str) -> None:
    try:
        urllib.request.urlopen(f"{server_address(uri)}/health", timeout=5).close()
    except urllib.error.HTTPError:
        pass  # a server answered; whether it lets us in shows when the run is created
    except (OSError, ValueError, http.client.HTTPException) as e:
        raise TrackError(
            f"The MLflow server {without_password(uri)} (from MLFLOW_TRACKING_URI) does not answer: "
            f"{getattr(e, 'reason', e)}. Start it, mend the address, or unset MLFLOW_TRACKING_URI to record into "
            f"{DEFAULT_STORE}."
        ) from None


def _check_database(database: Path) -> None:
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with database.open("ab+") as file:
            file.seek(0)
            start = file.read(16)
    except OSError as e:
        raise _unwritable(f"The MLflow store {database}", e) from None
    if start and start != b"SQLite format 3\0":
        raise TrackError(f"The MLflow store {database} is not an SQLite database. Move it away, or set MLFLOW_TRACKING_URI.")


def _unwritable(what: str, error: OSError) -> TrackError:
    return TrackError(
        f"{what} can not be written: {error.strerror}. Work in a folder you may write to, or set MLFLOW_TRACKING_URI, e.g. "
        "to sqlite:////tmp/mlflow.db."
    )


def is_new(uri: str) -> bool:
    """True when opening the store will first create its tables, which takes seconds."""
    database = database_file(uri)
    return database is not None and (not database.is_file() or database.stat().st_size == 0)


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """One process at a time: two that create an SQLite store's tables at once would both fail. TrackError when the lock can
    not be written."""
    database = database_file(uri)
    if database is None:
        yield
        return
    path = database.with_suffix(".lock")
    try:
        lock = path.open("w")
    except OSError as e:
        raise _unwritable(f"{path}, beside the MLflow store,", e) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given up when the file is closed, also by a crash
        yield
