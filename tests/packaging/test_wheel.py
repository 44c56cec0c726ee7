"""The wheel, installed into an environment that has nothing but the few light packages the first commands need."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LIGHT = ("typer", "rich", "numpy")


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_", "COVERAGE"))}
    return subprocess.run([*map(str, command)], cwd=cwd, env=plain, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def light_distributions() -> set[str]:
    """LIGHT and what they require, as installed here."""
    found: set[str] = set()
    waiting = list(LIGHT)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        wanted = map(Requirement, importlib.metadata.requires(name) or ())
        waiting += [r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def empty_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new virtual environment with the wheel and the light packages in it."""
    home = tmp_path_factory.mktemp("empty") / "venv"
    assert run(sys.executable, "-m", "venv", "--without-pip", home).returncode == 0
    site = home / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for name in light_distributions():
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
            (site / top).symlink_to(distribution.locate_file(top))
    # venvs of Debian's Python have no pip of their own: the base interpreter's installs into them
    pip = [sys.executable] if importlib.util.find_spec("pip") else [sys._base_executable]  # type: ignore[attr-defined]
    done = run(*pip, "-m", "pip", "--python", home / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    return home / "bin"


def test_wheel_holds_all_data_folders(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("targets", "calibration", "firmware_templates", "examples"):
        files = {
            p.relative_to(ROOT).as_posix()
            for p in (ROOT / folder).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        }
        assert files, folder
        assert {f"pipeline/_data/{f}" for f in files} <= set(names)
    assert {"pipeline/py.typed", "pipeline/report/page.html.j2"} <= set(names)
    assert not [n for n in names if n.startswith(("tests/", "mlflow_runs/")) or "__pycache__" in n]


def test_targets_from_the_root_folder(empty_environment: Path) -> None:
    done = run(empty_environment / "pipeline", "targets", cwd=Path("/"))
    assert (done.returncode, done.stderr) == (0, "")
    for path in (ROOT / "targets").glob("*.toml"):
        assert re.search(rf"^{re.escape(path.stem)}\s", done.stdout, re.MULTILINE)
    done = run(empty_environment / "pipeline", "targets", "cortex-m4", cwd=Path("/"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "mps2-an386" in done.stdout


def test_version_and_help(empty_environment: Path) -> None:
    version = run(empty_environment / "pipeline", "--version", cwd=Path("/"))
    assert (version.returncode, version.stdout) == (0, f"pipeline {importlib.metadata.version('tinyml-pipeline')}\n")
    shown = run(empty_environment / "pipeline", "--help", cwd=Path("/"))
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in ("run", "targets", "doctor", "ui", "init"))


def test_doctor_names_what_an_empty_environment_lacks(empty_environment: Path) -> None:
    done = run(empty_environment / "pipeline", "doctor", cwd=Path("/"))
    assert done.returncode == 1
    assert re.search(r"MISSING +torch ", done.stdout)
    assert "Something required is missing" in done.stdout


def test_a_run_says_what_is_not_installed(empty_environment: Path, tmp_path: Path) -> None:
    done = run(empty_environment / "pipeline", "run", "--target", "cortex-m4", cwd=tmp_path)
    assert done.returncode == 1
    assert "Error: the Python package" in done.stderr
    assert "is not installed" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
