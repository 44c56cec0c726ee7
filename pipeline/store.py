"""The MLflow store's address: the default one, whether it can work, and its pages in a browser. Imports no mlflow."""

from __future__ import annotations

import fcntl
import os
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


def store_uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE


def database_file(uri: str) -> Path | None:
    """The file of a sqlite store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def check_store(uri: str) -> None:
    """TrackError, within seconds, when the store can not work: MLflow itself would try again for minutes."""
    if uri.startswith(("http://", "https://")):
        try:
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5).close()
        except urllib.error.HTTPError:
            pass  # a server answered; whether it lets us in shows when the run is created
        except (OSError, ValueError) as e:
            raise TrackError(
                f"The MLflow server {uri} (from MLFLOW_TRACKING_URI) does not answer: {getattr(e, 'reason', e)}. Start it, "
                f"mend the address, or unset MLFLOW_TRACKING_URI to record into {DEFAULT_STORE}."
            ) from None
        return
    database = database_file(uri)
    if database is None:
        return
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
    if uri.startswith("http"):
        raise TrackError(f"MLFLOW_TRACKING_URI names the server {uri}: open it in a browser.")
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
        *(sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)),
        *(
            "--workers",
            "1",
            "--uvicorn-opts",
            "--log-level warning",
        ),  # one reader on this machine: up in a third of the time
    ]
    print(f"MLflow on {uri}: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    quiet = {"MLFLOW_LOGGING_LEVEL": "WARNING", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", **quiet, **os.environ}
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
