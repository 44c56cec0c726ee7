"""The command line as a user meets it: its words and its exit codes."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner, Result

from pipeline import target as targets
from pipeline.cli import app
from pipeline.host.messages import reported
from pipeline.host.signals import end_if_asked, uninterrupted
from pipeline.recipe import load

RECIPE = 'name = "small"\n[data]\nsource = "digits"\n[model]\nfactory = "digits_cnn"\n'


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pipeline(*words: str, columns: int = 120, **environment: str) -> Result:
    return CliRunner().invoke(app, words, prog_name="pipeline", env={"COLUMNS": str(columns), **environment})


def said(done: Result) -> str:
    """Standard error as one line, whatever the terminal's width."""
    return " ".join(done.stderr.split())


def test_help_is_fast_and_light() -> None:
    times = []
    command = ["-c", "from pipeline.cli import main; main()", "--help"]
    for _ in range(3):
        start = time.monotonic()
        assert subprocess.run([sys.executable, *command], capture_output=True, timeout=60).returncode == 0
        times.append(time.monotonic() - start)
    assert min(times) < 0.5
    imported = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, timeout=60
    ).stderr
    assert "pipeline.cli" in imported
    assert not re.search(r"\| +(torch|mlflow|numpy|sklearn|matplotlib)\n", imported)


def test_a_wrong_recipe_is_refused_before_torch_is_loaded(work: Path) -> None:
    (work / "r.toml").write_text(RECIPE)
    words = ["run", "r.toml", "-t", "cortex-m4", "--set", "quantize.mod=qat"]
    code = f"import sys; from pipeline.cli import app; sys.argv = ['pipeline', *{words}]; app()"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "quantize.mod: unknown key. Did you mean 'mode'?" in done.stderr
    assert not re.search(r"\| +(torch|mlflow|sklearn|matplotlib)\n", done.stderr)


def test_version() -> None:
    done = pipeline("--version")
    assert (done.exit_code, done.stdout.split()[0]) == (0, "pipeline")


def test_flags_of_ours_show_no_value() -> None:
    for words, flag in (((), "--version"), (("run",), "--accept-new-host-key")):
        line = next(line for line in pipeline(*words, "--help").stdout.splitlines() if flag in line)
        assert "<" not in line


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_targets(columns: int) -> None:
    done = pipeline("targets", columns=columns)
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= columns
    assert "…" not in done.stdout
    for name in targets.names():
        assert re.search(rf"^{name} ", done.stdout, re.MULTILINE)


def test_one_target_in_full() -> None:
    done = pipeline("targets", "cortex-m4")
    assert done.exit_code == 0
    assert re.search(r"clock_hz +120,000,000", done.stdout)
    assert re.search(r"ram_origin +0x20000000", done.stdout)
    assert re.search(r"uart_irq +0\n", done.stdout)
    assert not re.search(r"^(cores|model) ", done.stdout, re.MULTILINE)


def test_of_a_target_is_shown_what_its_family_uses() -> None:
    shown = re.findall(r"^(\w+) {2,}\S", pipeline("targets", "raspberry-pi-4").stdout, re.MULTILINE)
    assert shown == [
        "name", "family", "description", "source", "tested", "core", "clock_hz", "cores", "flash_bytes", "ram_bytes",
        "transport", "model", "active_mw", "source",
    ]  # fmt: skip
    core = pipeline("targets", "cortex-m3").stdout  # without an FPU
    assert not re.search(r"^(fpu|isa)\b", core, re.MULTILINE)


def test_targets_of_ones_own(work: Path) -> None:
    (work / "mine").mkdir()
    (work / "mine" / "my-board.toml").write_text('inherits = "cortex-m4"\ndescription = "mine"\nsource = "my bench"\n')
    done = pipeline("targets", "--targets-dir", "mine")
    assert done.exit_code == 0
    assert "my-board" in done.stdout


def test_doctor_when_all_is_there() -> None:
    done = pipeline("doctor")
    missing = "MISSING" in done.stdout
    assert done.exit_code == (1 if missing else 0)
    assert ("Everything a run needs is here." in done.stdout) != missing
    assert re.search(r"found +torch +2\.", done.stdout)


def test_doctor_without_tools_says_how_to_get_them(work: Path) -> None:
    done = pipeline("doctor", PATH=str(work))
    assert done.exit_code == 1
    for tool in ("host C compiler", "arm-none-eabi-gcc", "qemu-system-arm", "make"):
        assert re.search(rf"MISSING +{tool}", done.stdout)
    assert "install" in done.stdout
    assert "Something required is missing" in done.stdout


BAD = {
    "no target": ((), 2, r"^Error: --target is missing\. It must be given; known targets: .*cortex-m4"),
    "unknown target": (
        ("-t", "cortex-m5"),
        2,
        r"^Error: unknown target 'cortex-m5'\. Did you mean 'cortex-m\d+'\? Known targets: ",
    ),
    "target with a path": (("-t", "../cortex-m4"), 2, r"^Error: unknown target '\.\./cortex-m4'"),
    "two targets, one unknown": (("-t", "cortex-m4", "-t", "x"), 2, r"^Error: unknown target 'x'"),
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
    "seed": (("r.toml", "-t", "cortex-m4", "--set", "seed=-1"), 2, r"^Error: r\.toml: seed = -1 is out of range"),
    "no TFLM library": (("r.toml", "-t", "cortex-m4", "--tflm-dir", "none"), 2, r"no libtensorflow-microlite\.a in .*/none"),
    "bench file": (("r.toml", "-t", "cortex-m4", "--bench", "none.toml"), 2, r"bench file none\.toml does not exist"),
    "unknown option": (("r.toml", "--targte", "cortex-m4"), 2, r"No such option: --targte"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_of_run(case: str, work: Path) -> None:
    words, code, message = BAD[case]
    (work / "r.toml").write_text(RECIPE)
    done = pipeline("run", *words)
    assert re.search(message, said(done)), done.stderr
    assert done.exit_code == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not list(work.glob("build/*"))


def test_a_full_disk_is_told_in_one_paragraph(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome(*_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(reports=(), agreements=())

    (work / "r.toml").write_text(RECIPE)
    monkeypatch.setattr("pipeline.run.run_targets", outcome)
    monkeypatch.setattr("pipeline.report.table.print_outcome", lambda *_: None)
    done = pipeline("run", "r.toml", "-t", "cortex-m4", "--json", "/dev/full")
    assert done.exit_code == 1
    assert (
        said(done) == "Error: --json /dev/full can not be written: No space left on device. Give another file, or make room."
    )
    assert "unexpected" not in done.stderr


def test_a_full_disk_anywhere_leaves_no_traceback(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "build/x")

    (work / "r.toml").write_text(RECIPE)
    monkeypatch.setattr("pipeline.run.run_targets", full)
    done = pipeline("run", "r.toml", "-t", "cortex-m4")
    assert done.exit_code == 1
    assert said(done) == ("Error: build/x: No space left on device. Make room there, or give another place with --out.")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_that_python_dropped_counts_at_the_next_stage() -> None:
    class Callback:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)  # "Exception ignored in ..."

    def next_stage() -> None:
        with reported():
            Callback()
            end_if_asked()

    with pytest.raises(typer.Exit) as ended:
        next_stage()
    assert ended.value.exit_code == 130
    with reported():
        end_if_asked()


def test_an_interruption_waits_for_a_transaction() -> None:
    done = []

    def transaction() -> None:
        with reported(), uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            done.append("committed")

    with pytest.raises(typer.Exit) as ended:
        transaction()
    assert (ended.value.exit_code, done) == (143, ["committed"])


def test_a_users_exit_is_no_success(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "r.toml").write_text(RECIPE)
    monkeypatch.setattr("pipeline.run.run_targets", lambda *_, **__: sys.exit(0))
    done = pipeline("run", "r.toml", "-t", "cortex-m4")
    assert done.exit_code == 2
    assert said(done).startswith("Error: the model's code ended the program: SystemExit: 0")


def test_a_terminal_without_unicode(work: Path) -> None:
    code = "from pipeline.cli import main; import sys; sys.argv = ['pipeline', 'targets', 'cortex-m3']; main()"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "COLUMNS": "70"}
    done = subprocess.run([sys.executable, "-c", code], cwd=work, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_init_prints_a_command_that_can_be_pasted(work: Path) -> None:
    done = pipeline("init", "my own project")
    assert done.stdout.splitlines()[-1] == "Run it: pipeline run 'my own project/recipe.toml' --target cortex-m4"


def test_missing_toolchain(work: Path) -> None:
    (work / "r.toml").write_text(RECIPE)
    done = pipeline("run", "r.toml", "-t", "cortex-m4", PATH=str(work))
    assert done.exit_code == 1
    assert re.search(
        r"^Error: target cortex-m4 needs .*arm-none-eabi-gcc .*not found on this machine\. Install: ", said(done)
    )


def test_unreachable_tracking_server(work: Path) -> None:
    (work / "r.toml").write_text(RECIPE)
    done = pipeline("run", "r.toml", "-t", "cortex-m4", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.exit_code == 1
    assert re.search(r"Error: The MLflow server http://127\.0\.0\.1:9 .* does not answer", said(done))
    assert not list(work.glob("build/*"))


def test_an_unexpected_error_is_one_message_and_a_log_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "names", lambda *_: 1 // 0)
    done = pipeline("targets")
    assert done.exit_code == 1
    found = re.search(r"^Error: an unexpected ZeroDivisionError: .*The details are in (\S+\.log)\.$", said(done))
    assert found, done.stderr
    log = Path(found[1])
    assert "Traceback" in log.read_text()
    log.unlink()


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -c 'from pipeline.cli import main; main()' targets | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_init_writes_a_recipe_that_loads(work: Path) -> None:
    done = pipeline("init", "mine")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        "mine/recipe.toml",
        "mine/model.py",
        "mine/data.npz",
        "Run it: pipeline run mine/recipe.toml --target cortex-m4",
    ]
    recipe = load(work / "mine" / "recipe.toml")
    assert [s.name for s in recipe.stages] == ["train", "prune", "distill", "quantize", "codegen", "measure"]
    again = pipeline("init", "mine")
    assert again.exit_code == 2
    assert "mine already exists and is not an empty folder; nothing was written" in said(again)


def test_ui_with_nothing_recorded() -> None:
    done = pipeline("ui", MLFLOW_TRACKING_URI="sqlite:///mlflow.db")
    assert done.exit_code == 1
    assert "Nothing is recorded in" in said(done)
