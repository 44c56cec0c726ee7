"""Wheels for a computer that has no way to a package index: fetched here, placed there."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import paramiko

from pipeline.devices.linux.ssh_files import FOLDER, place
from pipeline.measurement.linux import ComputerInfo


def fetch(info: ComputerInfo, packages: Sequence[str], folder: Path) -> str:
    """Wheels for the computer that `info` describes into `folder`, with this computer's pip. Why not, or ""
    when they are there."""
    version, libc = re.match(r"3\.[0-9]{1,2}\b", info.python), re.fullmatch(r"glibc-2\.([0-9]{1,2})", info.libc)
    if not (version and libc and re.fullmatch(r"\w+", info.machine, re.ASCII)):
        return f"there are no wheels for {info.machine}, {info.libc} and Python {info.python}"
    machine = info.machine
    platforms = [f"manylinux_2_{m}_{machine}" for m in range(int(libc[1]), 16, -1)] + [f"manylinux2014_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    command += ["--implementation", "cp", "--python-version", version[0], "--dest", str(folder)]
    command += [word for p in platforms for word in ("--platform", p)] + ["--", *packages]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    return (done.stderr.strip().splitlines() or ["pip download failed"])[-1] if done.returncode else ""


def upload(files: paramiko.SFTPClient, wheels: Sequence[Path], key: str) -> str:
    """The remote folder that pip finds them in. pip wants a wheel's own name: links to the placed files."""
    folder = f"{FOLDER}/wheels-{key}"
    for wheel in wheels:
        placed = place(files, wheel.read_bytes(), ".whl")
        with contextlib.suppress(OSError):
            files.mkdir(folder, 0o700)
        with contextlib.suppress(OSError):
            files.remove(f"{folder}/{wheel.name}")
        files.symlink(f"../{placed.rpartition('/')[2]}", f"{folder}/{wheel.name}")
    return folder
