"""Small files of the kernel, and short commands."""

from __future__ import annotations

import ctypes
import signal
import subprocess

LIBC = ctypes.CDLL(None)


def text_of(path: str, limit: int = 4096) -> str | None:
    """The start of a file; None when it can not be read."""
    try:
        with open(path, "rb") as f:
            return f.read(limit).decode("utf-8", "replace").strip("\0\n ")
    except OSError:
        return None


def output_of(*command: str) -> str | None:
    """The standard output of a short command, None when it is missing or fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace")[:8192] if done.returncode == 0 else None


def die_with_parent() -> None:
    """In a child: be killed when this process ends, however it ends (prctl PR_SET_PDEATHSIG)."""
    LIBC.prctl(1, signal.SIGKILL)
