"""Runs in a real MLflow store: what was logged is read back with MLflow's own client."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import PipelineError, Terminated, TrackError
from pipeline.tracking import mlflow as track
from pipeline.tracking import store as store_address
from pipeline.tracking.mlflow import MlflowTracker
from pipeline.tracking.ui import serve_ui


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with one run in it."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    with MlflowTracker("digits", "first", uri):
        pass
    return uri


def client(store: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(store)


def children(store: str, run_id: str) -> list[Any]:
    c = client(store)
    parent = c.get_run(run_id)
    found = c.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'")
    return sorted(found, key=lambda r: r.info.start_time)


def test_a_run_and_its_stages(store: str, tmp_path: Path) -> None:
    (tmp_path / "plot.svg").write_text("<svg/>")
    with MlflowTracker("digits", "digits-cortex-m4-1", store) as tracker:
        tracker.log.params({"seed": 1, "train.epochs": 3})
        tracker.log.dataset("digits", "ab" * 32, "digits", {"train_images": 1150})
        tracker.log.file(tmp_path / "plot.svg", "plots")
        with tracker.stage("train", {"epochs": 3, "learning_rate": 0.01}) as log:
            for epoch in range(3):
                log.metrics({"accuracy": 0.5 + epoch / 10}, step=epoch)
            log.metrics({"accuracy": 0.9})
        with tracker.stage("measure", {}) as log:
            log.metrics({"latency_us_median": 12.5, "cycles": 1500}, "simulated")
            log.metrics({"energy_uj": 0.5}, "estimated")
            log.text("hello", "note.txt")
    run = client(store).get_run(tracker.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "digits-cortex-m4-1")
    assert run.data.params == {"seed": "1", "train.epochs": "3"}
    assert run.data.tags["data_sha256"] == "ab" * 32
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("digits", ("ab" * 32)[:36])
    assert json.loads(used.dataset.profile) == {"train_images": 1150}
    assert [a.path for a in client(store).list_artifacts(tracker.run_id, "plots")] == ["plots/plot.svg"]
    train, measure = children(store, tracker.run_id)
    assert (train.info.run_name, train.info.status) == ("train", "FINISHED")
    assert train.data.params == {"epochs": "3", "learning_rate": "0.01"}
    assert train.data.metrics == {"accuracy": 0.9}  # the final figure, not the last epoch's
    assert len(client(store).get_metric_history(train.info.run_id, "accuracy")) == 4
    assert measure.data.tags["kind.simulated"] == "cycles, latency_us_median"
    assert measure.data.tags["kind.estimated"] == "energy_uj"


def test_artifacts_lie_beside_the_database(store: str) -> None:
    experiment = client(store).get_experiment_by_name("digits")
    assert experiment.artifact_location == (Path(store.removeprefix("sqlite:///")).parent / "artifacts").as_uri()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PipelineError("board: no answer."), "board: no answer."),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (KeyboardInterrupt(), "interrupted"),
        (Terminated(), "interrupted"),
    ],
)
def test_a_failure_marks_stage_and_parent(store: str, error: BaseException, message: str) -> None:
    tracker = MlflowTracker("digits", "fails", store)
    with pytest.raises(type(error)), tracker, tracker.stage("train", {}):
        raise error
    (stage,) = children(store, tracker.run_id)
    for run in (client(store).get_run(tracker.run_id), stage):
        assert run.info.status == "FAILED"
        assert run.data.tags["error"] == message
        assert run.data.tags["mlflow.note.content"] == message


def test_long_values_are_clipped_not_refused(store: str) -> None:
    with MlflowTracker("digits", "long", store) as tracker:
        tracker.log.params({"long": "x" * 10_000})
        tracker.log.tags({"long": "y" * 10_000})
    assert len(client(store).get_run(tracker.run_id).data.tags["long"]) == 5000


def test_metric_names_take_any_class_name(store: str) -> None:
    names = ["C++ & <b>", "C-- & <b>", "../x", "a//b", "a/b", "Größe", "漢字 1", "x" * 300, "x" * 301, "a: b\n"]
    values = {f"recall_{name}": i / 10 for i, name in enumerate(names)}
    with MlflowTracker("digits", "names", store) as tracker:
        tracker.log.metrics(values)
    logged = client(store).get_run(tracker.run_id).data.metrics
    assert sorted(logged.values()) == list(values.values())
    kept = {"recall_a/b", "recall_Größe", "recall_漢字 1", "recall_../x"}
    assert kept == logged.keys() & values.keys()
    assert any(re.fullmatch(r"recall_C__ _ _b_-[0-9a-f]{6}", name) for name in logged)


def test_a_full_disk_is_told_without_sql(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def full(_: Any) -> None:
        raise OperationalError("INSERT INTO runs VALUES (?)", ("secret",), Exception("database or disk is full"))

    with MlflowTracker("digits", "full", store) as tracker:
        with pytest.raises(TrackError) as refused:
            tracker._store.call(full)
        assert str(refused.value) == (
            f"The MLflow store {store} refused or failed: (builtins.Exception) database or disk is full."
        )


def test_a_deleted_experiment_says_how_to_get_it_back(store: str) -> None:
    c = client(store)
    c.delete_experiment(c.create_experiment("gone"))
    with pytest.raises(TrackError, match=r"'gone' .* was deleted\. Restore it"), MlflowTracker("gone", "x", store):
        pass


def test_default_store_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store_address.store_uri() == "sqlite:///mlflow_runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")
    assert store_address.store_uri() == "http://tracker:5000"


def test_a_dead_server_is_noticed_at_once() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(TrackError, match=rf"server http://127.0.0.1:{port} .* does not answer.*Connection refused.*unset"):
        store_address.check_store(f"http://127.0.0.1:{port}")
    assert time.monotonic() - start < 3


def test_any_answer_counts_as_a_server() -> None:
    class Forbidden(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Forbidden)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    store_address.check_store(f"http://127.0.0.1:{server.server_port}")
    thread.join(timeout=5)
    server.server_close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("I am a diary, not a database.")
    with pytest.raises(TrackError, match=r"mlflow\.db is not an SQLite database"):
        store_address.check_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert (tmp_path / "mlflow.db").read_text().startswith("I am a diary")


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackError, match="can not be written"):
        store_address.check_store(f"sqlite:///{tmp_path}/file/mlflow.db")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("/data/mlruns", r"is a folder.*MLFLOW_TRACKING_URI=sqlite:////data/mlruns/mlflow\.db\."),
        ("file:///data/mlruns", r"is a folder.*MLFLOW_TRACKING_URI=sqlite:////data/mlruns/mlflow\.db\."),
        (
            "s3://bucket/runs",
            r"s3://bucket/runs is of no kind that MLflow knows; it must begin with sqlite:, http:.*unset it",
        ),
        ("ftp://joe:geheim@host/x", r"ftp://joe:\*\*\*@host/x is of no kind"),
        ("sqlite:///:memory:", r"names no file, so nothing of the run would stay"),
        ("http://joe:geheim@127.0.0.1:9", r"server http://joe:\*\*\*@127\.0\.0\.1:9 .*Connection refused"),
    ],
)
def test_stores_that_can_not_work(uri: str, message: str) -> None:
    with pytest.raises(TrackError, match=message) as refused, MlflowTracker("x", "x", uri):
        pass
    assert "geheim" not in str(refused.value)


def test_a_database_without_its_driver_says_what_to_install() -> None:
    uri = "mysql+nosuchdriver://joe:geheim@localhost/runs"
    with pytest.raises(TrackError, match="refused or failed") as refused, MlflowTracker("x", "x", uri):
        pass
    assert "geheim" not in str(refused.value)
    uri = "mysql+aiomysql://joe:geheim@localhost/runs"
    message = r"mysql\+aiomysql://joe:\*\*\*@localhost/runs needs the Python package 'aiomysql'.* pip install 'aiomysql'\."
    with pytest.raises(TrackError, match=message), MlflowTracker("x", "x", uri):
        pass


def test_git_commit(tmp_path: Path) -> None:
    assert track.git_commit(tmp_path) == ""

    def git(*words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@t"]
        return subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True, text=True).stdout

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "first")
    head = git("rev-parse", "HEAD").strip()
    assert track.git_commit(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert track.git_commit(tmp_path) == f"{head}-dirty"


def test_runs_that_begin_at_once_share_a_new_store_and_mlflow_keeps_quiet(tmp_path: Path) -> None:
    code = "from pipeline.tracking.mlflow import MlflowTracker\nwith MlflowTracker('a', 'b') as t: t.log.params({'x': 1})"
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    place: Any = {"cwd": tmp_path, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [subprocess.Popen([sys.executable, "-c", code], **place) for _ in range(2)]
    for process in started:
        said = process.communicate(timeout=120)
        assert (process.returncode, *said) == (0, b"", b"")
    assert (tmp_path / "mlflow_runs" / "mlflow.db").stat().st_size > 0
    assert not (tmp_path / "mlruns").exists()


def test_a_store_whose_making_was_interrupted_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic.operations import Operations

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    calls = 0
    create_index = Operations.create_index

    def interrupted(*args: Any, **options: Any) -> Any:  # in the midst of the migrations
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return create_index(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Operations, "create_index", interrupted)
        with pytest.raises(KeyboardInterrupt), MlflowTracker("digits", "first", uri):
            pass
    assert calls == 3
    with MlflowTracker("digits", "second", uri) as tracker:
        tracker.log.params({"x": 1})
    assert client(uri).get_run(tracker.run_id).data.params == {"x": "1"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mlflow.db", "mlflow.lock"]


def test_a_lock_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.lock").mkdir()
    with pytest.raises(TrackError, match=r"mlflow\.lock, beside the MLflow store, can not be written: Is a directory"):
        MlflowTracker("digits", "first", f"sqlite:///{tmp_path}/mlflow.db").__enter__()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_ui_serves_the_store_takes_runs_and_ends_with_its_command(store: str, free_port: int, tmp_path: Path) -> None:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store}
    command = [sys.executable, "-c", f"from pipeline.cli import app; app(['ui', '--port', '{free_port}'])"]
    with (tmp_path / "log").open("w") as log:
        ui = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        assert b"<div id=" in _get(f"http://127.0.0.1:{free_port}/", patience_s=60)
        with MlflowTracker("by-http", "r", f"http://127.0.0.1:{free_port}") as tracker:
            tracker.log.text("hello", "note.txt")
        assert tracker.page.startswith(f"http://127.0.0.1:{free_port}/#/experiments/")
        assert client(store).get_run(tracker.run_id).info.status == "FINISHED"
    finally:
        ui.terminate()
        assert ui.wait(timeout=30) == 143
    with pytest.raises(OSError, match="refused"):
        _get(f"http://127.0.0.1:{free_port}/", patience_s=0)


def _get(url: str, patience_s: float) -> bytes:
    end = time.monotonic() + patience_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def test_ui_refuses_what_it_can_not_serve(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(TrackError, match="Nothing is recorded"):
        serve_ui(5000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracker.example")
    with pytest.raises(TrackError, match="open it in a browser"):
        serve_ui(5000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TrackError, match=rf"Port {port} can not be used.*--port {port + 1}"):
            serve_ui(port)


def test_logging_levels_are_quiet() -> None:
    track._import_mlflow()
    assert logging.getLogger("alembic").level == logging.WARNING
