"""`pipeline compile` as a user runs it, ended while it works: at once, with its exit code, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.cross,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

MODEL = Path(__file__).parent / "importers" / "files" / "cnn_uint8_edges.tflite"
COMMAND = [sys.executable, "-c", "from pipeline.cli import main; main()", "compile", str(MODEL), "--target", "cortex-m4"]


def has(*names: str) -> Callable[[Path], bool]:
    """The folder that is being made has a file of one of these names."""
    return lambda work: any(p for name in names for p in work.glob(f".firmware.*/{name}"))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "started": lambda work: True,
    "writing_c": has("*"),
    "proving": has("model.tflite"),
    "building": has("Makefile"),
    "linking": has("build/*"),
}


def working_in(folder: Path) -> list[str]:
    """The command of every process that has its working directory in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def catches(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.parametrize(
    ("how", "code", "said"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]
)
@pytest.mark.parametrize("moment", MOMENTS)
def test_ended_in_the_middle(moment: str, how: signal.Signals, code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [*COMMAND, "--out", "firmware"]
    with subprocess.Popen(command, text=True, env=environment, cwd=tmp_path, **pipes) as process:
        try:
            end = time.monotonic() + 60
            # SIGTERM is caught from the moment on when the command runs; before, Python itself is starting.
            while not catches(process, signal.SIGTERM) and process.poll() is None and time.monotonic() < end:
                time.sleep(0.002)
            while not MOMENTS[moment](tmp_path) and process.poll() is None and time.monotonic() < end:
                time.sleep(0.002)
            began = time.monotonic()
            process.send_signal(how)
            out, errors = process.communicate(timeout=20)
            assert time.monotonic() - began < 2
        finally:
            process.kill()
    assert (process.returncode, out, errors.strip()) == (code, "", said)
    assert working_in(tmp_path) == []
    assert [p.name for p in tmp_path.rglob("*")] == ["temporary"]
