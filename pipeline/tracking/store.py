"""The MLflow store's address: the default one, whether it can work, and its pages in a browser. Imports no mlflow."""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
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
        raise TrackError(
            f"The MLflow store {database} can not be written: {e.strerror}. Work in a folder you may write to, or set "
            f"MLFLOW_TRACKING_URI, e.g. to sqlite:////tmp/mlflow.db."
        ) from None
    if start and start != b"SQLite format 3\0":
        raise TrackError(f"The MLflow store {database} is not an SQLite database. Move it away, or set MLFLOW_TRACKING_URI.")


def is_new(uri: str) -> bool:
    """True when opening the store will first create its tables, which takes seconds."""
    database = database_file(uri)
    return database is not None and (not database.is_file() or database.stat().st_size == 0)


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """One process at a time: two that create an SQLite store's tables at once would both fail."""
    database = database_file(uri)
    if database is None:
        yield
        return
    with database.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given up when the file is closed, also by a crash
        yield


def serve_ui(port: int) -> None:
    """MLflow's pages on the store at 127.0.0.1:`port`, until interrupted. TrackError when there is nothing to serve."""
    uri = store_uri()
    if address := server_address(uri):
        raise TrackError(f"MLFLOW_TRACKING_URI names the server {address}: open it in a browser.")
    if is_new(uri):
        raise TrackError(
            f"Nothing is recorded in {uri} yet. Run `pipeline run` here first, or go to the folder where you ran it."
        )
    check_store(uri)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as e:
            raise TrackError(
                f"Port {port} can not be used: {e.strerror}. Give another: pipeline ui --port {port + 1}."
            ) from None
    command = [
        *(sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1"),  # one reader on this machine: up in a third of the time
        *("--uvicorn-opts", "--log-level warning"),
    ]
    print(f"MLflow on {without_password(uri)}: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    quiet = {"MLFLOW_LOGGING_LEVEL": "WARNING", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    # The store goes by the environment: command lines are there for everybody on the machine to read.
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", **quiet, **os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
    # A process group of its own: the server's workers end with it, whatever ends this command.
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        code = server.wait()
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
    if code != 0:
        raise TrackError(f"The MLflow server ended with exit code {code}; its messages are above.")
