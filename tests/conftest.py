"""What every test may rely on. A missing tool or optional data skips by name; in CI (env CI) a skip is a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")
TOOLS = {"cross": "arm-none-eabi-gcc", "qemu": "qemu-system-arm", "ssh": "sshd"}
SEARCHED = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin:/sbin"  # sshd is outside a user's PATH

# Two xdist workers share two cores: one thread each, and the same sums in the same order everywhere.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, tool in TOOLS.items():
            if item.get_closest_marker(marker) and shutil.which(tool, path=SEARCHED) is None:
                item.add_marker(pytest.mark.skip(reason=f"{tool} is not installed"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """A whole file that leaves itself out, as `importorskip` does."""
    report = yield
    if IN_CI and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} skipped in CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """Optional real models and data beside the checkout."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder.name}/ with reference models and data is not beside the checkout")
    return folder
