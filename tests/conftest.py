"""What every test may rely on. A missing tool skips by name, and in CI (env CI) a skip is a failure. Tests of material that
is no part of the repository are marked `shared`, and left out where it is not there: a plain clone passes in CI."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Generator, Iterator
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.host.processes import run_group

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")
TOOLS = {"cross": "arm-none-eabi-gcc", "qemu": "qemu-system-arm", "ssh": "sshd"}
LONG = (
    "test_until_from.py", "test_tasks_end_to_end.py", "test_end_to_end.py", "test_ssh_environment.py", "test_resnet8.py",
    "test_compile.py", "test_extending.py", "test_run.py", "test_track.py",
)  # fmt: skip
"""Begun first, in this order: a worker that began one of these last would work on alone. The first two import what a run
needs while coverage looks on."""
SEARCHED = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin:/sbin"  # sshd is outside a user's PATH

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell: children would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Two xdist workers share two cores: one thread each, and the same sums in the same order everywhere.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


gc.set_threshold(50_000, 20, 50)  # torch traces and MLflow's mappers are many objects, looked through again and again


@pytest.hookimpl(tryfirst=True)  # before -m selects: it sees `shared`, too
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")
        for marker, tool in TOOLS.items():
            if item.get_closest_marker(marker) and shutil.which(tool, path=SEARCHED) is None:
                item.add_marker(pytest.mark.skip(reason=f"{tool} is not installed"))
    if not SHARED.is_dir():
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("shared")])
        items[:] = [item for item in items if not item.get_closest_marker("shared")]
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Coverage's tracer makes all Python half as slow again, that of torch and MLflow, too: it stops for tests marked
    `unmeasured`. Where each test's own lines are asked for (--cov-context, as scripts/mutate.py does), they are measured."""
    coverage = getattr(item.config.pluginmanager.getplugin("_cov"), "cov_controller", None)
    if not coverage or item.config.option.cov_context or not item.get_closest_marker("unmeasured"):
        return (yield)
    coverage.pause()
    try:
        return (yield)
    finally:
        coverage.resume()


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


@pytest.fixture(scope="session", autouse=True)
def _same_c_is_built_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A run builds the C that it made for this host twice, and many runs here make the same: one build of the same files by
    the same command does for all, where gcc had nothing to complain of."""
    programs = tmp_path_factory.mktemp("host_c")

    def run(command: list[str], *rest: Any) -> subprocess.CompletedProcess[bytes]:
        if command[-2:-1] != ["-o"]:
            return run_group(command, *rest)
        folders = [path for flag, path in pairwise(command[:-1]) if flag == "-I"]
        digest = hashlib.sha256()
        for i, folder in enumerate(folders):
            for file in sorted(f for f in Path(folder).rglob("*") if f.suffix in (".c", ".h")):
                digest.update(f"{i} {file.relative_to(folder)} {file.stat().st_size}\n".encode() + file.read_bytes())
        for word in command[:-1]:
            digest.update(f"{reduce(lambda w, folder: w.replace(folder, ''), folders, word)}\n".encode())
        kept = programs / digest.hexdigest()
        if kept.is_file():
            shutil.copy2(kept, command[-1])
            return subprocess.CompletedProcess(command, 0, b"", b"")
        done = run_group(command, *rest)
        if done.returncode == 0:
            shutil.copy2(command[-1], kept)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.proof.host_c.run_group", run)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real models and data beside the checkout. A test that asks for it is marked `shared` by that."""
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a worker's runs are recorded, for all tests that name no other store: making a store takes seconds."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri
