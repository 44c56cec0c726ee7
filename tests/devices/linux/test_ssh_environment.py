"""The engine on a Pi that has none: a virtual environment from its own index, from wheels, or words."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import TARGET, Pi, script

from pipeline.devices.linux.ssh import SshComputer
from pipeline.errors import DeviceError

pytestmark = pytest.mark.ssh


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, None]:
    """On this system only: what is tested here is installed or compiled for it."""
    return tmp_path_factory.mktemp("pi"), None


def wheel(folder: Path, name: str) -> None:
    """A wheel that installs nothing but a path to the real package, which the tests' own environment has."""
    info = f"{name}-9.9.dist-info"
    files = {
        f"{name}_here.pth": sysconfig.get_path("purelib") + "\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-9.9-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("numpy", "onnxruntime"):
        wheel(folder, name)
    return folder


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without packages."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def bare_pi(own_pi: Pi, bare_python: Path) -> Pi:
    """A Pi whose Python has no packages, and whose pip sees no index."""
    own_pi.python(str(bare_python))
    own_pi.env += ["export PIP_NO_INDEX=1", "unset PIP_FIND_LINKS"]
    return own_pi


def test_made_once_from_its_own_index(bare_pi: Pi, wheels: Path) -> None:
    """Kept for the next time; made anew when the last time broke off."""
    bare_pi.env.append(f"export PIP_FIND_LINKS={wheels}")
    bare_pi.start()
    made_at = []
    for _ in range(3):
        with SshComputer(TARGET, bare_pi.host()) as computer, computer.runner() as runner:
            assert runner.ask("info")["engines"]["onnxruntime"]
        (ready,) = bare_pi.cache.glob("venv-*.ready")
        venv = bare_pi.cache / ready.stem
        made_at.append((venv / "pyvenv.cfg").stat().st_mtime_ns)
        if len(made_at) == 2:
            ready.unlink()
            (venv / "bin" / "python").unlink()
    assert made_at[0] == made_at[1] < made_at[2]


def test_wheels_of_the_user(bare_pi: Pi, wheels: Path) -> None:
    bare_pi.start()
    with SshComputer(TARGET, bare_pi.host(), wheels=wheels) as computer, computer.runner() as runner:
        assert runner.ask("info")["engines"]["onnxruntime"]
    (folder,) = bare_pi.cache.glob("wheels-*")
    assert {p.name for p in folder.iterdir()} == {p.name for p in wheels.iterdir()}


def test_wheels_fetched_here_when_it_is_offline(bare_pi: Pi, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_pi.start()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    with SshComputer(TARGET, bare_pi.host()) as computer, computer.runner() as runner:
        assert runner.ask("info")["engines"]["onnxruntime"]
    digests = {hashlib.sha256(w.read_bytes()).hexdigest() for w in wheels.iterdir()}
    assert digests == {p.stem for p in bare_pi.cache.glob("*.whl")}


def test_no_wheels_anywhere(bare_pi: Pi, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_pi.start()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(DeviceError) as e, SshComputer(TARGET, bare_pi.host()):
        pass
    words = str(e.value)
    assert words.startswith("raspberry-pi-4 (pi): venv: it has no onnxruntime, its pip could not install it [")
    assert "this computer could not fetch wheels for it" in words
    assert words.count("No matching distribution found for numpy") == 2
    assert not list(bare_pi.cache.glob("*.ready"))


def test_a_python_without_ensurepip(bare_pi: Pi, bare_python: Path) -> None:
    hidden = "u.find_spec = lambda n, *a: None if n == 'ensurepip' else f(n, *a)"
    run = f"import importlib.util as u, runpy, sys; f = u.find_spec; {hidden}"
    run += "; sys.argv = sys.argv[-1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    script(bare_pi.bin / "python3", f'#!/bin/sh\nexec {bare_python} -I -c "{run}" "$@"\n')
    bare_pi.start()
    with (
        pytest.raises(DeviceError, match=r"venv: .*no ensurepip; on Debian: sudo apt install python3-venv"),
        SshComputer(TARGET, bare_pi.host()),
    ):
        pass


def test_disk_too_small_for_the_engine(small_pi: Callable[[int], Pi], wheels: Path, bare_python: Path) -> None:
    pi = small_pi(2 * 2**20)
    pi.python(str(bare_python))
    pi.env += ["export PIP_NO_INDEX=1", f"export PIP_FIND_LINKS={wheels}"]
    pi.start()
    with (
        pytest.raises(DeviceError, match=r"raspberry-pi-4 \(pi\): venv: its disk is full \([\d,]+ bytes free"),
        SshComputer(TARGET, pi.host()),
    ):
        pass


def test_sftp_switched_off(own_pi: Pi) -> None:
    own_pi.env.append('case "$SSH_ORIGINAL_COMMAND" in */sftp-server) exit 1 ;; esac')
    own_pi.start()
    with pytest.raises(DeviceError, match=r"raspberry-pi-4 \(pi\): prepare: "), SshComputer(TARGET, own_pi.host()):
        pass
    assert os.listdir(own_pi.home) == []
