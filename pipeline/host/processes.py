"""Programs that start programs, as make and gcc do: they end together."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pipeline.host.signals import uninterrupted
from pipeline.locations import PACKAGE


def own_environment() -> dict[str, str]:
    """For `python -m pipeline...`: the child finds this very package, wherever it is started."""
    here = str(PACKAGE.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH", ""))))}


def run_group(
    command: Sequence[str], environment: Mapping[str, str], timeout_s: float, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """`subprocess.run` with `given` on its standard input and its output captured. Whatever ends this, TimeoutExpired or
    Ctrl-C, first ends all that the command has started, so that none of it goes on writing into a folder that is removed."""
    pipe, process = subprocess.PIPE, None
    try:
        with uninterrupted():  # else a signal could come when it runs and nobody knows it yet
            process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
            )
        out, errors = process.communicate(given, timeout_s)
    except BaseException:
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()  # until the last of them has let go
        raise
    return subprocess.CompletedProcess(command, process.returncode, out, errors)
