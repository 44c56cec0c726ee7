"""A place for an engine on a computer that has none: `venv`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from typing import Any

from fields import Refused, field
from system import die_with_parent

LITTLE_DISK = 4 * 2**20
PIP_INSTALL = ("-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "--only-binary=:all:")
IMPATIENT = ("--retries", "1", "--timeout", "15")  # an offline computer must not wait for minutes


def venv(_models: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """A virtual environment at `path` with `requirements`, from the index or only from the folder `wheels`."""
    path, wheels = field(request, "path", str), field(request, "wheels", str, "")
    requirements = field(request, "requirements", list)
    if not all(isinstance(r, str) and r and not r.startswith("-") for r in requirements) or path.startswith("-"):
        raise Refused("BadRequest", "requirements must be names of packages")
    if not importlib.util.find_spec("ensurepip"):
        raise Refused("NoVenv", "this Python has no ensurepip; on Debian: sudo apt install python3-venv")
    shutil.rmtree(path, ignore_errors=True)
    _run("NoVenv", sys.executable, "-m", "venv", path)  # leaves the folder there when it fails
    source = ["--no-index", "--find-links", wheels] if wheels else []
    python = os.path.join(path, "bin", "python")
    _run("NoPackages", python, *PIP_INSTALL, *IMPATIENT, *source, "--", *requirements)
    return {"executable": python}


def _run(error: str, *command: str) -> None:
    """Refused, with this name or DiskFull, unless the command succeeds."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=900, check=False, preexec_fn=die_with_parent
        )
    except subprocess.TimeoutExpired:
        raise Refused(error, f"{' '.join(command[:4])} took more than 15 minutes") from None
    if done.returncode:
        words = (done.stderr + done.stdout).decode("utf-8", "replace").strip()[-600:]
        free = min(shutil.disk_usage(folder).free for folder in (".", ".cache") if os.path.isdir(folder))
        full = "No space left" in words or free < LITTLE_DISK  # venv keeps to itself why it failed
        raise Refused("DiskFull" if full else error, words or f"exit status {done.returncode}")
