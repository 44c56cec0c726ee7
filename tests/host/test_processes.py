"""Programs that are started end with what started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline.host.messages import reported
from pipeline.host.processes import run_group
from pipeline.host.signals import end_if_asked


def test_ctrl_c_while_a_program_starts_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes when the program runs, but nobody has been told yet."""
    started: list[subprocess.Popen[bytes]] = []
    right = subprocess.Popen

    def interrupted(*command: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(right(*command, **options))
        signal.raise_signal(signal.SIGINT)
        return started[-1]

    monkeypatch.setattr("pipeline.host.processes.subprocess.Popen", interrupted)
    with pytest.raises(typer.Exit) as e, reported():
        run_group([sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ), 60)
    assert e.value.exit_code == 130
    end_if_asked()  # nothing is left of it for what this process does next
    assert started[0].poll() == -signal.SIGKILL


LEAVES_A_DAEMON = """
import subprocess, sys, time
print(subprocess.Popen(["sleep", "20"], start_new_session=True).pid, file=open(sys.argv[1], "w"), flush=True)
time.sleep(20)
"""


def test_a_daemon_that_holds_the_output_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.host.processes.LETTING_GO_S", 0.2)
    began = time.monotonic()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            run_group([sys.executable, "-c", LEAVES_A_DAEMON, str(tmp_path / "pid")], dict(os.environ), 2)
        assert time.monotonic() - began < 10
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT"])
def test_a_signal_that_is_ignored_stays_ignored(name: str) -> None:
    """As nohup leaves SIGHUP, and a script's shell SIGINT of what it starts with &."""
    number = signal.Signals[name]
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with reported():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
