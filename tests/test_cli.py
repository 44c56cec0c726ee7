"""The command line as a user meets it: each command in a process of its own, its words and its exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline import target as targets
from pipeline.cli import app
from pipeline.recipe import load

RECIPE = 'name = "small"\n[data]\nsource = "digits"\n[model]\nfactory = "digits_cnn"\n'


def pipeline(*words: str | Path, cwd: Path, columns: int = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, words)]
    settings = {**os.environ, "COLUMNS": str(columns), "MLFLOW_TRACKING_URI": f"sqlite:///{cwd}/mlflow.db", **environment}
    return subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=300)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Standard error as one line, whatever the terminal's width."""
    return re.sub(r"\s+", " ", done.stderr)


def test_help_is_fast_and_light(tmp_path: Path) -> None:
    times = []
    for _ in range(3):
        start = time.monotonic()
        done = pipeline("--help", cwd=tmp_path)
        times.append(time.monotonic() - start)
        assert done.returncode == 0
    assert min(times) < 0.5
    command = [sys.executable, "-X", "importtime", "-c", "from pipeline.cli import main; main()", "--help"]
    imported = subprocess.run(command, capture_output=True, text=True, timeout=60).stderr
    assert "pipeline.cli" in imported
    assert not re.search(r"\| +(torch|mlflow|numpy|sklearn|matplotlib)\n", imported)


def test_version(tmp_path: Path) -> None:
    done = pipeline("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout.split()[0]) == (0, "pipeline")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_targets(columns: int, tmp_path: Path) -> None:
    done = pipeline("targets", cwd=tmp_path, columns=columns)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert "…" not in done.stdout
    for name in targets.names():
        assert re.search(rf"^{name} ", done.stdout, re.MULTILINE)


def test_one_target_in_full(tmp_path: Path) -> None:
    done = pipeline("targets", "cortex-m4", cwd=tmp_path)
    assert done.returncode == 0
    assert re.search(r"clock_hz +120,000,000", done.stdout)
    assert re.search(r"ram_origin +0x20000000", done.stdout)


def test_targets_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my-board.toml").write_text('inherits = "cortex-m4"\ndescription = "mine"\nsource = "my bench"\n')
    done = pipeline("targets", "--targets-dir", "mine", cwd=tmp_path)
    assert done.returncode == 0
    assert "my-board" in done.stdout


def test_doctor_when_all_is_there(tmp_path: Path) -> None:
    done = pipeline("doctor", cwd=tmp_path)
    missing = "MISSING" in done.stdout
    assert done.returncode == (1 if missing else 0)
    assert ("Everything a run needs is here." in done.stdout) != missing
    assert re.search(r"found +torch +2\.", done.stdout)


def test_doctor_without_tools_says_how_to_get_them(tmp_path: Path) -> None:
    done = pipeline("doctor", cwd=tmp_path, PATH=str(tmp_path))
    assert done.returncode == 1
    for tool in ("host C compiler", "arm-none-eabi-gcc", "qemu-system-arm", "make"):
        assert re.search(rf"MISSING +{tool}", done.stdout)
    assert "install" in done.stdout
    assert "Something required is missing" in done.stdout


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


BAD = {
    "no target": ((), 2, r"^Error: --target is missing\. It must be given; known targets: .*cortex-m4"),
    "unknown target": (
        ("-t", "cortex-m5"),
        2,
        r"^Error: unknown target 'cortex-m5'\. Did you mean 'cortex-m\d+'\? Known targets: ",
    ),
    "target with a path": (("-t", "../cortex-m4"), 2, r"^Error: unknown target '\.\./cortex-m4'"),
    "two targets": (("-t", "cortex-m4", "-t", "x"), 2, r"--target was given 2 times \(cortex-m4, x\)"),
    "targets folder": (("-t", "x", "--targets-dir", "none"), 2, r"--targets-dir none is not a folder"),
    "missing recipe": (("none.toml", "-t", "cortex-m4"), 2, r"^Error: none\.toml does not exist"),
    "unknown key": (
        ("r.toml", "-t", "cortex-m4", "--set", "prune.kep=1"),
        2,
        r"prune\.kep: unknown key\. Did you mean 'keep'\?",
    ),
    "value out of range": (
        ("r.toml", "-t", "cortex-m4", "--set", "prune.keep=-3"),
        2,
        r"prune\.keep = -3\.0 is out of range",
    ),
    "unknown data": (("r.toml", "-t", "cortex-m4", "--set", "data.source=digit"), 2, r"data\.source = 'digit' is not known"),
    "missing data": (("r.toml", "-t", "cortex-m4", "--set", "data.source=a.npz"), 2, r"a\.npz does not exist"),
    "unknown model": (("r.toml", "-t", "cortex-m4", "--set", "model.factory=resnet9"), 2, r"Did you mean 'resnet8'\?"),
    "missing weights": (("r.toml", "-t", "cortex-m4", "--set", "model.checkpoint=w.pt"), 2, r"w\.pt does not exist"),
    "distil without prune": (("r.toml", "-t", "cortex-m4", "--set", "distill.epochs=1"), 2, r"distill has no teacher"),
    "json into nowhere": (
        ("r.toml", "-t", "cortex-m4", "--json", "no/where.json"),
        2,
        r"--json no/where\.json can not be written",
    ),
    "bench file": (("r.toml", "-t", "cortex-m4", "--bench", "none.toml"), 2, r"--bench none\.toml does not exist"),
    "unknown option": (("r.toml", "--targte", "cortex-m4"), 2, r"No such option: --targte"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_of_run(case: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words, code, message = BAD[case]
    (tmp_path / "r.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    done = CliRunner().invoke(app, ["run", *words])
    assert re.search(message, " ".join(done.stderr.split())), done.stderr
    assert done.exit_code == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("build/*"))


def test_missing_toolchain(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    done = pipeline("run", "r.toml", "-t", "cortex-m4", cwd=tmp_path, PATH=str(tmp_path))
    assert done.returncode == 1
    assert re.search(
        r"^Error: target cortex-m4 needs .*arm-none-eabi-gcc .*not found on this machine\. Install: ", said(done)
    )


def test_unreachable_tracking_server(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    done = pipeline("run", "r.toml", "-t", "cortex-m4", cwd=tmp_path, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 1
    assert re.search(r"Error: The MLflow server http://127\.0\.0\.1:9 .* does not answer", said(done))
    assert not list(tmp_path.glob("build/*"))


def test_an_unexpected_error_is_one_message_and_a_log_file(tmp_path: Path) -> None:
    code = "import pipeline.target as t\nt.names = lambda *a: 1 // 0\nfrom pipeline.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code, "targets"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    found = re.search(r"^Error: an unexpected ZeroDivisionError: .*The details are in (\S+\.log)\.$", said(done).strip())
    assert found, done.stderr
    log = Path(found[1])
    assert "Traceback" in log.read_text()
    log.unlink()


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'from pipeline.cli import main; main()' targets | true"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_init_writes_a_recipe_that_loads(tmp_path: Path) -> None:
    done = pipeline("init", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "mine/recipe.toml",
        "mine/model.py",
        "mine/data.npz",
        "Run it: pipeline run mine/recipe.toml --target cortex-m4",
    ]
    recipe = load(tmp_path / "mine" / "recipe.toml")
    assert [s.name for s in recipe.stages] == ["train", "prune", "distill", "quantize", "codegen", "measure"]
    again = pipeline("init", "mine", cwd=tmp_path)
    assert again.returncode == 2
    assert "mine already exists and is not an empty folder; nothing was written" in said(again)


def test_ui_with_nothing_recorded(tmp_path: Path) -> None:
    done = pipeline("ui", cwd=tmp_path)
    assert done.returncode == 1
    assert "Nothing is recorded in" in said(done)
