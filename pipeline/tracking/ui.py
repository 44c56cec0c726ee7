"""MLflow's pages on the store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

from pipeline.errors import TrackError
from pipeline.tracking.store import check_store, is_new, server_address, store_uri, without_password


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
