"""`pipeline measure` as a user runs it, when the board fails or the user has had enough: one line, an exit code, and nothing
is left: no emulator, no file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from wire import Answer, board, serial_line

from pipeline.artifacts import Firmware

pytestmark = [
    pytest.mark.cross,
    pytest.mark.qemu,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

# The tests themselves may run under nohup or behind a script's &, whose ignored signals a child would keep.
HEARS = "import signal as s; s.signal(s.SIGHUP, s.SIG_DFL); s.signal(s.SIGINT, s.default_int_handler)"
COMMAND = [sys.executable, "-c", f"{HEARS}; from pipeline.cli import main; main()", "measure"]
READY = b"m-ready\r\n"


@contextmanager
def measuring(folder: Path, work: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command, with work/temporary for its temporary files; these must be gone when it is."""
    temporary = work / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, str(folder), *options], text=True, env=environment, cwd=work, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()
    assert list(temporary.iterdir()) == []


def emulators(folder: Path) -> list[int]:
    """Every QEMU that runs a firmware of the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qemu" in words[0] and any(w.startswith(str(folder).encode()) for w in words):
            found.append(int(process.name))
    return found


def until(condition: Callable[[], object], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        pytest.param(signal.SIGINT, 130, "Interrupted.", id="ctrl_c"),
        pytest.param(signal.SIGTERM, 143, "Terminated.", id="sigterm"),
        pytest.param(signal.SIGHUP, 143, "Terminated.", id="hang_up"),
        pytest.param(signal.SIGABRT, 1, "QEMU was killed by signal 6", id="emulator_crashes"),
    ],
)
def test_ended_in_the_middle(
    how: signal.Signals, code: int, said: str, firmware: Callable[..., Firmware], tmp_path: Path
) -> None:
    folder = firmware().folder
    np.save(tmp_path / "many.npy", np.zeros((3000, 8, 8, 1), np.uint8))
    with measuring(folder, tmp_path, "--inputs", str(tmp_path / "many.npy")) as process:
        assert until(lambda: emulators(folder), 60)
        time.sleep(0.5)  # into the replay
        (qemu,) = emulators(folder)
        began = time.monotonic()
        os.kill(qemu if how == signal.SIGABRT else process.pid, how)
        out, errors = process.communicate(timeout=20)
        assert time.monotonic() - began < 2
    assert process.returncode == code
    assert (out, errors.count(said), "Traceback" in errors) == ("", 1, False)
    assert until(lambda: not emulators(folder), 5)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(lambda _received: b"", r"did not answer an empty command (`%`) within 5 s. Check that", id="silent"),
        pytest.param(board(name=b"m-name-dut-[nucleo]\r\n" + READY), "answers as 'nucleo', not as 'cortex-m4'.", id="other"),
        pytest.param(board(name=b"m-name-dut-[cort"), "did not finish its answer to `name`", id="cut_short"),
        pytest.param(board(name=b"m-n\x1b[31m\r\n" + READY), r"b'm-n\x1b[31m', which is no line of the", id="garbled"),
    ],
)
def test_a_board_that_fails(answer: Answer, said: str, firmware: Callable[..., Firmware], tmp_path: Path) -> None:
    with serial_line(answer) as port:
        (tmp_path / "bench.toml").write_text(f'[cortex-m4]\nport = "{port}"\nkind = "measured"\n')
        with measuring(firmware().folder, tmp_path) as process:
            out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    (line,) = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert said in line
    assert f"cortex-m4 on {port}" in line
    assert line.endswith(".")
    assert line.isprintable()


def test_a_bench_file_that_is_not_there(firmware: Callable[..., Firmware], tmp_path: Path) -> None:
    """An emulated board must not answer for the one that the file would have named."""
    with measuring(firmware().folder, tmp_path, "--bench", "none.toml") as process:
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "Error: the bench file none.toml does not exist. It says where boards are attached: give its path" in errors
