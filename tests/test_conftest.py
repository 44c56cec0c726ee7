"""The suite's own rule: what a clone lacks is left out, what a machine lacks is skipped, and in CI a skip is a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUITE = """
import pytest

def test_real_model(shared):
    assert (shared / "model").read_text() == "real"

@pytest.mark.shared
def test_marked_by_hand():
    pass

def test_plain():
    pass

def test_that_skips():
    pytest.skip("no such tool")

@pytest.mark.xfail
def test_expected_to_fail():
    raise AssertionError
"""
LEAVES_ITSELF_OUT = 'import pytest\npytest.importorskip("no_such_module")\n'


def outcome(folder: Path, *options: str, ci: str = "") -> str:
    """The last line of a run of SUITE in a checkout in `folder`."""
    checkout = folder / "checkout"
    (checkout / "tests").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", checkout)
    shutil.copy(ROOT / "tests" / "conftest.py", checkout / "tests")
    (checkout / "tests" / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[-1].rpartition(" in ")[0]


def with_shared(folder: Path) -> Path:
    (folder / "shared").mkdir()
    (folder / "shared" / "model").write_text("real")
    return folder


def test_without_shared_its_tests_are_left_out(tmp_path: Path) -> None:
    assert outcome(tmp_path) == "1 passed, 1 skipped, 2 deselected, 1 xfailed"


def test_in_ci_a_skip_fails_and_what_is_left_out_does_not(tmp_path: Path) -> None:
    assert outcome(tmp_path, ci="true") == "1 failed, 1 passed, 2 deselected, 1 xfailed"
    assert outcome(tmp_path, "-k", "not skips", ci="true") == "1 passed, 3 deselected, 1 xfailed"


def test_with_shared_its_tests_run(tmp_path: Path) -> None:
    assert outcome(with_shared(tmp_path), ci="true") == "1 failed, 3 passed, 1 xfailed"


def test_the_fixture_is_the_mark(tmp_path: Path) -> None:
    assert outcome(with_shared(tmp_path), "-m", "shared") == "2 passed, 3 deselected"
    assert outcome(tmp_path, "-m", "not shared") == "1 passed, 1 skipped, 2 deselected, 1 xfailed"


@pytest.mark.parametrize(("ci", "expected"), [("", "2 skipped"), ("0", "2 skipped"), ("1", "error")])
def test_a_file_that_leaves_itself_out(ci: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "checkout" / "tests").mkdir(parents=True)
    (tmp_path / "checkout" / "tests" / "test_file.py").write_text(LEAVES_ITSELF_OUT)
    assert expected in outcome(tmp_path, ci=ci)
