"""Mutants are small, whole Python files; what no test ought to depend on is left alone. The long run: no survivor without a
reason."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from load_script import script

ROOT = Path(__file__).resolve().parents[2]
LISTED = ROOT / "tests" / "mutation" / "survivors.toml"


mutants, mutate = script("mutants"), script("mutate")

# a line; what it may become
CHANGES = {
    "comparison": ("y = a < b", {"y = a <= b"}),
    "chain": ("y = a <= b == c", {"y = a < b == c", "y = a <= b != c"}),
    "identity": ("y = a is not b", {"y = a is b"}),
    "member": ("y = a not in b", {"y = a in b"}),
    "sum": ("y = a + b", {"y = a - b"}),
    "in_parentheses": ("y = (a) - (b)", {"y = (a) + (b)"}),
    "grown": ("y += a", {"y -= a"}),
    "shift": ("y = a << b", {"y = a >> b"}),
    "union": ("y = a | b", {"y = a & b"}),
    "division": ("y = a // b", {"y = a * b"}),
    "three": ("y = a and b and c", {"y = a or b and c", "y = a and b or c"}),
    "not": ("y = not a", {"y = (a)"}),
    "minus": ("y = -a", {"y = (a)"}),
    "integer": ("y = 7", {"y = 8", "y = 6"}),
    "zero": ("y = 0", {"y = 1"}),
    "float": ("y = 0.5", {"y = 1.5", "y = 0.0"}),
    "truth": ("y = True", {"y = False"}),
    "slice": ("y = a[b:c]", {"y = a[(b) + 1:c]", "y = a[b:(c) - 1]"}),
    "min": ("y = min(a, b)", {"y = max(a, b)"}),
    "numpy": ("y = np.maximum(a, b)", {"y = np.minimum(a, b)"}),
    "method": ("y = a.min()", {"y = a.max()"}),
    "choice": ("y = a if b else c", {"y = a if not (b) else c"}),
    "text_with_umlauts": ("y = f('ä', a + b)", {"y = f('ä', a - b)"}),
    "message": ('raise ValueError(f"{a + 1}", 7)', set()),
    "operators_message": ('raise op.fail(f"{a}", 7)', set()),
    "format": ('y = f"{a + 1:3d}"', set()),
    "text": ("y = 'a' % b", set()),
    "annotation": ("y: Literal[7] | None = a", set()),
    "key_of_a_recipe": ("y: int = limits(5, low=1)", set()),
    "classes": ("y = isinstance(a, B | C)", set()),
    "strict": ("y = zip(a, b, strict=True)", set()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes(name: str) -> None:
    line, expected = CHANGES[name]
    found = mutants.mutants("file.py", f'"""Not 1 of these."""\n\n{line}\nz = a\n')
    assert {m.after for m in found} == expected
    assert all((m.line, m.last_line, m.before, m.at_import) == (3, 3, line, True) for m in found)


def test_what_surrounds_code_is_left_alone() -> None:
    text = '@dataclass(frozen=True)\nclass A:\n    """7."""\n\n    def f(self, a: "1 + 1" = b) -> Literal[7]:\n'
    text += '        """8."""\n'
    assert mutants.mutants("file.py", text) == []


def test_a_mutant_is_the_file_with_one_line_changed() -> None:
    text = (ROOT / "pipeline" / "fixedpoint.py").read_text()
    found = mutants.mutants("pipeline/fixedpoint.py", text)
    assert len(found) > 100
    for m in found:
        ast.parse(m.source)
        changed = [n for n, (a, b) in enumerate(zip(text.splitlines(), m.source.splitlines(), strict=True), 1) if a != b]
        assert changed == [m.line]
    assert len({m.rank(1) for m in found}) == len(found)


def test_the_draw_repeats_itself_and_follows_the_seed() -> None:
    first, again, other = (mutants.draw(ROOT, ["pipeline/fixedpoint.py"], 30, seed) for seed in (1, 1, 2))
    assert first == again
    assert {m.rank(1) for m in first} != {m.rank(1) for m in other}


def test_tests_that_run_the_line_come_cheapest_and_most_different_first() -> None:
    seconds = {"a.py::x[1]": 0.01, "a.py::x[2]": 0.02, "a.py::y": 0.03, "a.py::slow": 9.0, "a.py::elsewhere": 0.0}
    lines = {"f.py": {5: ["a.py::x[1]", "a.py::x[2]", "a.py::y", "a.py::slow"], 9: ["a.py::elsewhere"]}}
    coverage = mutate.Coverage(seconds, lines)
    mutant = mutants.Mutant("f.py", 5, 5, "", "", "")
    assert coverage.tests(mutant) == ["a.py::x[1]", "a.py::y", "a.py::x[2]", "a.py::slow"]
    assert coverage.few(coverage.tests(mutant), (10, 1.0)) == ["a.py::x[1]", "a.py::y", "a.py::x[2]"]
    at_import = mutants.Mutant("f.py", 1, 1, "", "", "", at_import=True)
    assert len(coverage.tests(at_import)) == 5


def test_reasons_are_for_mutants_that_there_are() -> None:
    known = {m.key for file in mutate.subjects() for m in mutants.mutants(file, (ROOT / file).read_text())}
    reasons = mutate.reasons(LISTED)
    assert set(reasons) <= known, "the code has changed: remove what is left of it in survivors.toml"
    assert all(len(reason) > 20 for reason in reasons.values())


SUMS = """def add(a, b):
    return a + b


def count(n):
    while n > 0:
        n -= 1
    return n
"""
TEST_SUMS = """from pipeline.sums import add, count


def test_sums():
    assert add(2, 0) == 2
    assert count(3) == 0
"""
JUDGE = """import sys
from pathlib import Path

scripts, root, patience, *lines = sys.argv[1:]
sys.path.insert(0, scripts)
import mutants, mutate

mutate.LIBRARIES, mutate.PATIENCE = ("pytest",), float(patience)
test = "tests/test_sums.py::test_sums"
coverage = mutate.Coverage({test: 0.1}, {"pipeline/sums.py": dict.fromkeys(range(1, 9), [test])})
found = mutants.mutants("pipeline/sums.py", (Path(root) / "pipeline" / "sums.py").read_text())
for v in mutate.judged([m for m in found if m.after in lines], coverage, [Path(root)]):
    print("verdict", v.mutant.after, v.outcome, v.killer, sep="|")
"""


@pytest.mark.parametrize(
    ("patience", "expected"),
    [
        # One that the test looks at, and one that it does not.
        (100, {("while n >= 0:", "killed", "tests/test_sums.py::test_sums"), ("return a - b", "survived", "")}),
        (2, {("n += 1", "timed out", "")}),
    ],
)
def test_verdicts_are_true(patience: int, expected: set[tuple[str, str, str]], tmp_path: Path) -> None:
    for name, text in {"pipeline/__init__.py": "", "pipeline/sums.py": SUMS, "tests/test_sums.py": TEST_SUMS}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    lines = [line for line, _, _ in expected]
    command = [sys.executable, "-c", JUDGE, str(ROOT / "scripts"), str(tmp_path), str(patience), *lines]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    verdicts = {tuple(line.split("|")[1:]) for line in ended.stdout.splitlines() if line.startswith("verdict|")}
    assert verdicts == expected
    assert (tmp_path / "pipeline" / "sums.py").read_text() == SUMS


@pytest.mark.slow
def test_no_mutant_survives_without_a_reason(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("the copies are made of the files that git knows")
    command = [sys.executable, str(ROOT / "scripts" / "mutate.py"), "--out", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, (tmp_path / "report.md").read_text() if not ended.stderr else ended.stderr[-3000:]
