"""Programs that start programs, as make and gcc do: they end together."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from pipeline.host.signals import uninterrupted
from pipeline.locations import PACKAGE

LETTING_GO_S = 5.0
"""For what was killed to be gone, which takes milliseconds."""

_Stream = int | IO[bytes]


def own_environment() -> dict[str, str]:
    """For `python -m pipeline...`: the child finds this very package, wherever it is started."""
    here = str(PACKAGE.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH", ""))))}


def run_group(
    command: Sequence[str], environment: Mapping[str, str], timeout_s: float, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """`subprocess.run` with `given` on its standard input and its output captured. Whatever ends this, TimeoutExpired or
    Ctrl-C, first ends all that the command has started, so that none of it goes on writing into a folder that is removed."""
    pipe = subprocess.PIPE
    with _group(command, environment, pipe, pipe, pipe) as process:
        out, errors = process.communicate(given, timeout_s)
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def run_alone(
    command: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[bytes]:
    """The same for a command that may leave a server running, whose output the server then holds: files take it, and
    nobody waits for more than the command itself."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        with _group(command, environment, subprocess.DEVNULL, out, errors) as process:
            process.wait(timeout_s)
        for file in (out, errors):
            file.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, out.read(), errors.read())


@contextmanager
def _group(
    command: Sequence[str], environment: Mapping[str, str], given: _Stream, out: _Stream, errors: _Stream
) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a group of its own, which is ended when the block is left by an exception."""
    process = None
    try:
        with uninterrupted():  # else a signal could come when it runs and nobody knows it yet
            process = subprocess.Popen(
                command, stdin=given, stdout=out, stderr=errors, env=environment, start_new_session=True
            )
        yield process
    except BaseException:
        if process is not None:
            _end(process)
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):  # a daemon has left the group, and may hold the output for ever
        process.communicate(timeout=LETTING_GO_S)  # until the last of them has let go
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(OSError):  # what it was given, and has not read
            if stream is not None:
                stream.close()
