"""Do the tests notice when the code is wrong? `make mutants`: small changes (see mutants.py), each judged by the tests that
run the changed line, in a copy of the tree.

One run with coverage says which test runs which line, and how long it takes. Each mutant then gets its own process, forked
from one that has loaded the large libraries, and the tests that are cheap and different from each other come first. What
no test notices is a survivor: kill it with a test, or give the reason why it is harmless in tests/mutation/survivors.toml.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutants import Mutant, draw

ROOT = Path(__file__).resolve().parent.parent
SUBJECTS = (
    "pipeline/fixedpoint.py",
    "pipeline/lowering/arena.py",
    "pipeline/lowering/lower.py",
    "pipeline/ops",
    "pipeline/passes",
    "pipeline/stages",
    "pipeline/training",
)
TESTS = (
    "tests/codegen", "tests/importers", "tests/lowering", "tests/ops", "tests/passes", "tests/stages", "tests/targets",
    "tests/test_fixedpoint.py", "tests/test_ir.py", "tests/test_oracle.py", "tests/test_recipe.py",
)  # fmt: skip
MARKERS = "not slow and not qemu and not ssh"
DEVICES = ("pipeline/stages/measure.py", "pipeline/stages/_measure_linux.py")  # run in the emulator and over SSH: minutes
DEVICE_TESTS = ("tests/stages/test_measure.py", "tests/test_run.py", "tests/test_several_targets.py")
LISTED = Path("tests/mutation/survivors.toml")
LIBRARIES = (
    "numpy", "torch", "torch.fx", "torch.export", "torchao.quantization.pt2e", "torch_pruning", "sklearn", "onnx",
    "onnxruntime", "tflite_micro", "ai_edge_litert.interpreter", "jinja2", "matplotlib", "mlflow", "pytest", "hypothesis",
)  # fmt: skip
COUNT, SEED = 480, 1
FIRST, REST = (50, 5.0), (500, 45.0)  # tests for a mutant, and their seconds; then for those that outlived the first
PATIENCE = 15.0  # seconds beyond three times what the tests took without a mutant: an endless loop


@dataclass(frozen=True, slots=True)
class Coverage:
    """`seconds` by test; `lines`: which tests run a line, by file."""

    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, Sequence[str]]]

    def tests(self, mutant: Mutant) -> list[str]:
        """Every test that runs the mutated line, the cheapest of each test function first."""
        lines = self.lines.get(mutant.file, {})
        found = {t for n in range(mutant.line, mutant.last_line + 1) for t in lines.get(n, ())}
        if not found and mutant.at_import:
            found = {t for tests in lines.values() for t in tests}
        elif not found:  # a line inside of a statement: those of the one before it
            found = set(next((lines[n] for n in range(mutant.line, 0, -1) if n in lines), ()))
        rounds: Counter[str] = Counter()
        price: dict[str, float] = {}
        for test in sorted(found, key=lambda t: (self.seconds.get(t, 1.0), t)):
            rounds[test.split("[")[0]] += 1
            price[test] = rounds[test.split("[")[0]] * (self.seconds.get(test, 1.0) + 0.02)
        return sorted(price, key=lambda t: (price[t], t))

    def few(self, tests: Sequence[str], most: tuple[int, float]) -> list[str]:
        count, budget = most
        chosen: list[str] = []
        for test in tests[:count]:
            budget -= self.seconds.get(test, 1.0)
            if budget < 0 and chosen:
                break
            chosen.append(test)
        return chosen


@dataclass(frozen=True, slots=True)
class Verdict:
    mutant: Mutant
    outcome: str  # killed, survived, timed out
    tests: int
    killer: str = ""
    reason: str = ""  # of a survivor that is listed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", default="", metavar="TEXT", help="mutants of files whose path has TEXT in it")
    parser.add_argument("--devices", action="store_true", help=f"of {' and '.join(DEVICES)} alone: slow")
    parser.add_argument("--again", action="store_true", help="those alone that survived the last run")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mutants")
    arguments = parser.parse_args()
    out: Path = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    files = [f for f in subjects(arguments.only) if (f in DEVICES) == arguments.devices]
    chosen = draw(ROOT, files, arguments.count, arguments.seed)
    if arguments.again:
        last = {tuple(k) for k in json.loads((out / "survivors.json").read_text())}
        chosen = [m for m in chosen if m.key in last]
    listed = reasons(ROOT / LISTED)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [copy_of_tree(Path(folder) / str(i)) for i in range(arguments.processes)]
        verdicts = list(
            judged([m for m in chosen if m.key not in listed], coverage(copies[0], out, arguments.devices), copies)
        )
    verdicts += [Verdict(m, "survived", 0, reason=listed[m.key]) for m in chosen if m.key in listed]
    survivors = [v.mutant.key for v in verdicts if v.outcome == "survived" and not v.reason]
    (out / "survivors.json").write_text(json.dumps(survivors, indent=1))
    (out / "report.md").write_text(report(verdicts, arguments.seed))
    print(f"{summary(verdicts)}\nreport: {out / 'report.md'}")
    return 1 if survivors else 0


def subjects(only: str = "") -> list[str]:
    paths = [p for s in SUBJECTS for p in ([ROOT / s] if s.endswith(".py") else sorted((ROOT / s).rglob("*.py")))]
    return [n for p in paths if only in (n := p.relative_to(ROOT).as_posix())]


def reasons(path: Path) -> dict[tuple[str, str, str], str]:
    """Why a survivor is harmless, by file, line before and line after."""
    rows = tomllib.loads(path.read_text()).get("survivor", []) if path.is_file() else []
    return {(r["file"], r["before"], r["after"]): r["reason"] for r in rows}


def copy_of_tree(target: Path) -> Path:
    """The files that git knows or would add, as they are now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def coverage(copy: Path, out: Path, devices: bool) -> Coverage:
    """From the last run, when neither code nor tests have changed since."""
    code = hashlib.sha256(str(devices).encode())
    for path in sorted(p for folder in ("pipeline", "tests") for p in (copy / folder).rglob("*.py")):
        code.update(path.relative_to(copy).as_posix().encode() + path.read_bytes())
    file = out / f"coverage-{code.hexdigest()[:16]}.json"
    if not file.is_file():
        print("one run with coverage ...", flush=True)
        file.write_text(json.dumps(_measured(copy, devices)))
    content = json.loads(file.read_text())
    lines = {f: {int(n): tests for n, tests in found.items()} for f, found in content["lines"].items()}
    return Coverage(content["seconds"], lines)


def _measured(copy: Path, devices: bool) -> dict[str, Any]:
    from coverage import CoverageData

    paths, markers = (DEVICE_TESTS, "not slow and not ssh") if devices else (TESTS, MARKERS)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", markers, "-p", "no:cacheprovider", "--cov=pipeline"]
    command += ["--cov-context=test", "--cov-report=", "--junitxml=junit.xml", *paths]
    ended = subprocess.run(command, cwd=copy, env=_environment(copy), capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"mutants need a suite that passes without them:\n{ended.stdout[-3000:]}{ended.stderr[-1000:]}")
    data = CoverageData(str(copy / ".coverage"))
    data.read()
    lines: dict[str, dict[int, list[str]]] = {}
    for file in subjects():
        found = data.contexts_by_lineno(str(copy / file))
        tests = {n: sorted({c.split("|")[0] for c in contexts if c}) for n, contexts in found.items()}
        lines[file] = {n: t for n, t in tests.items() if t}
    times = {
        (c.get("classname", ""), c.get("name", "")): float(c.get("time", 1.0))
        for c in ElementTree.parse(copy / "junit.xml").iter("testcase")
    }
    seconds = {}
    for test in sorted({t for found in lines.values() for tests in found.values() for t in tests}):
        path, _, name = test.partition("::")
        seconds[test] = times.get((path.removesuffix(".py").replace("/", "."), name), 1.0)
    return {"seconds": seconds, "lines": lines}


def _environment(copy: Path) -> dict[str, str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}


def judged(chosen: Sequence[Mutant], found: Coverage, copies: Sequence[Path]) -> Iterator[Verdict]:
    """A verdict for each, as they come. Every test that killed is run once more without a mutant: it must pass."""
    os.environ.update(_environment(copies[0]))
    sys.dont_write_bytecode = True  # two mutants of one second and one size would share a .pyc
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    gc.freeze()  # pytest collects garbage several times a run
    context = multiprocessing.get_context("fork")
    free = context.Queue()
    for copy in copies:
        free.put(copy)
    killers: set[str] = set()
    with context.Pool(len(copies), _take_copy, (free, found)) as pool:
        for judge in (_judge_first, _judge_rest):
            alive: list[Mutant] = []
            for n, verdict in enumerate(pool.imap_unordered(judge, chosen), 1):
                m = verdict.mutant
                print(f"{n}/{len(chosen)} {verdict.outcome} {m.file}:{m.line} {m.before!r} -> {m.after!r}", flush=True)
                killers.add(verdict.killer)
                if judge is _judge_first and verdict.outcome == "survived":
                    alive.append(m)
                else:
                    yield verdict
            chosen = alive
        innocent = sorted(k for k in killers if "::" in k)
        if wrong := pool.apply(_run_without_mutant, (innocent,)):
            raise SystemExit(f"{wrong} fails without a mutant when it is run by itself; no verdict of this run holds")


_copy: Path
_coverage: Coverage


def _take_copy(free: Any, found: Coverage) -> None:
    global _copy, _coverage
    _copy, _coverage = free.get(), found
    os.chdir(_copy)
    sys.path.insert(0, str(_copy))
    os.environ.update(PYTHONPATH=str(_copy), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")


def _judge_first(mutant: Mutant) -> Verdict:
    few = _coverage.few(_coverage.tests(mutant), FIRST)
    return _judge(mutant, few, 0)


def _judge_rest(mutant: Mutant) -> Verdict:
    tests = _coverage.tests(mutant)
    passed = len(_coverage.few(tests, FIRST))
    return _judge(mutant, _coverage.few(tests[passed:], REST), passed)


def _judge(mutant: Mutant, tests: list[str], passed: int) -> Verdict:
    path = _copy / mutant.file
    before = path.read_text()
    try:
        path.write_text(mutant.source)
        outcome, killer = _run(tests) if tests else ("survived", "")
    finally:
        path.write_text(before)
    return Verdict(mutant, outcome, len(tests) + passed, killer)


def _run_without_mutant(tests: list[str]) -> str:
    outcome, killer = _run(tests) if tests else ("survived", "")
    return killer if outcome != "survived" else ""


def _run(tests: Sequence[str]) -> tuple[str, str]:
    """killed, survived or timed out, and the test that failed."""
    result = _copy / "mutant-result.txt"
    result.unlink(missing_ok=True)
    deadline = time.monotonic() + PATIENCE + 3 * sum(_coverage.seconds.get(t, 1.0) for t in tests)
    child = os.fork()
    if child == 0:
        _in_child(tests, result)
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "timed out", ""
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what a test left behind
    if ended[1] == 0:
        return "survived", ""
    return "killed", result.read_text() if result.is_file() else "the process died"


def _in_child(tests: Sequence[str], result: Path) -> None:
    code = 70
    try:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        import pytest
        import torch

        torch.set_num_threads(1)
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[_Tell(result)])
    finally:
        os._exit(int(code))


class _Tell:
    """A pytest plugin that writes down which test failed."""

    def __init__(self, result: Path) -> None:
        self.result = result

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.result.write_text(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.result.write_text("collecting the tests")


def summary(verdicts: Sequence[Verdict]) -> str:
    counts = Counter("listed" if v.reason else v.outcome for v in verdicts)
    words = ", ".join(f"{counts[k]} {k}" for k in ("killed", "timed out", "survived", "listed"))
    return f"{len(verdicts)} mutants: {words}"


def report(verdicts: Sequence[Verdict], seed: int) -> str:
    """Markdown: counts by file, then each survivor."""
    rows = [f"# Mutants\n\n{summary(verdicts)} (seed {seed}). Timed out counts as noticed.\n"]
    rows += ["| file | mutants | killed | timed out | survived | listed |", "|---|--:|--:|--:|--:|--:|"]
    for file in sorted({v.mutant.file for v in verdicts}):
        counts = Counter("listed" if v.reason else v.outcome for v in verdicts if v.mutant.file == file)
        figures = (counts.total(), *(counts[k] for k in ("killed", "timed out", "survived", "listed")))
        rows.append(f"| {file} | " + " | ".join(map(str, figures)) + " |")
    for v in sorted((v for v in verdicts if v.outcome == "survived"), key=lambda v: (bool(v.reason), v.mutant.key)):
        m = v.mutant
        rows += [f"\n{m.file}:{m.line}, {v.reason or f'{v.tests} tests pass' if v.tests or v.reason else 'no test runs it'}"]
        rows += ["```diff", f"-{m.before}", f"+{m.after}", "```"]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
