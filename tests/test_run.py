"""The stage loop: order, run folders, what is recorded, and what is left after a failure. The stages here are small ones of
the test's own; tests/test_end_to_end.py runs the real ones."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from finished import measured
from rich.console import Console

from pipeline import stages
from pipeline import target as targets
from pipeline.artifacts import FloatModel, Measured
from pipeline.data.dataset import DataRecipe
from pipeline.data.source import ModelRecipe, Source
from pipeline.errors import BuildError, DeviceError, PipelineError, RecipeError, Terminated
from pipeline.locations import PACKAGE
from pipeline.recipe import Recipe
from pipeline.report.progress import Display
from pipeline.run import load_source, run
from pipeline.saved.artifact import load
from pipeline.stage import Context, check_stages
from pipeline.stage_order import check_order
from pipeline.stages.distill import Distill
from pipeline.stages.prune import Prune
from pipeline.stages.train import Train
from pipeline.strict import read_toml


@dataclass(frozen=True)
class Weigh:
    """Counts parameters, with a figure per step and a final one."""

    name: ClassVar[str] = "weigh"
    consumes: ClassVar[type] = Source
    produces: ClassVar[type] = FloatModel

    steps: int = 3

    def run(self, artifact: Source, ctx: Context) -> FloatModel:
        with ctx.progress("weigh: steps", self.steps) as advance:
            for step in range(self.steps):
                ctx.log.metrics({"seen": step}, step=step)
                advance(1)
        count = sum(p.numel() for p in artifact.module.parameters())
        ctx.log.metrics({"parameters": count, "accuracy": 0.5})
        (ctx.folder / "weigh.txt").write_text(str(count))
        return FloatModel(artifact.module, artifact.data)


FAULTS: dict[str, type[BaseException]] = {
    "board": PipelineError,
    "bug": ValueError,
    "ctrl-c": KeyboardInterrupt,
    "sigterm": Terminated,
}


@dataclass(frozen=True)
class Ship:
    """Ends a run, or raises one of FAULTS."""

    name: ClassVar[str] = "ship"
    consumes: ClassVar[type] = FloatModel
    produces: ClassVar[type] = Measured

    fault: str = ""

    def run(self, artifact: FloatModel, ctx: Context) -> Measured:
        if self.fault:
            raise FAULTS[self.fault]({"board": "the board burned.", "bug": "odd"}.get(self.fault, ""))
        (ctx.folder / "firmware").mkdir()
        (ctx.folder / "firmware" / "digits.elf").write_bytes(b"\x7fELF")
        ctx.log.metrics({"latency_us_median": 1234.5, "accuracy": 0.9694}, "simulated")
        return measured(ctx.folder)


CORTEX_M4 = targets.load("cortex-m4")


def recipe(folder: Path, *stages: Any) -> Recipe:
    return Recipe("small", 1, DataRecipe(limit=100), ModelRecipe(), stages, folder / "recipe.toml")


@pytest.fixture
def client(store: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(store)


def last_runs(client: Any) -> list[Any]:
    """The latest parent run and its stages, in the order in which they began."""
    experiment = client.get_experiment_by_name("small")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"], max_results=50)
    parent = next(r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    nested = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return [parent, *sorted(nested, key=lambda r: r.info.start_time)]


def test_a_run_leaves_a_folder_and_a_record(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "build"
    report = run(recipe(tmp_path, Weigh(steps=2), Ship()), CORTEX_M4, out=out)
    assert [p.name for p in out.iterdir()] == ["small-cortex-m4-1"]
    assert report.folder == out / "small-cortex-m4-1"
    assert report.firmware == report.folder / "firmware"
    assert report.measured.package.elf.read_bytes() == b"\x7fELF"
    assert {p.name for p in report.folder.iterdir()} == {
        "firmware", "plots", "recipe.toml", "report.html", "report.json", "weigh", "weigh.txt",
    }  # fmt: skip
    assert load(report.folder / "weigh", load_source(recipe(tmp_path, Weigh(), Ship()), (CORTEX_M4,))).stage == "weigh"
    assert json.loads((report.folder / "report.json").read_text()) == report.json()

    parent, weigh, ship = last_runs(client)
    assert parent.info.run_id == report.run_id
    assert {r.info.status for r in (parent, weigh, ship)} == {"FINISHED"}
    assert weigh.data.params == {"steps": "2"}
    assert weigh.data.metrics["parameters"] == report.stages[0].value("parameters")
    assert parent.data.metrics["accuracy_device"] == 0.9694
    assert parent.data.metrics["bit_exact_equal"] == 360
    assert parent.data.tags["kind.simulated"] == "accuracy_device, latency_us_median"
    assert parent.data.tags["target"] == "cortex-m4"
    assert len(parent.data.tags["recipe_sha256"]) == 64
    assert "git_commit" not in parent.data.tags  # nothing of the run lies in a repository
    assert parent.data.params["data.limit"] == "100"
    assert parent.inputs.dataset_inputs[0].dataset.name == "digits"
    files = {f.path for f in client.list_artifacts(report.run_id)}
    assert files == {"firmware", "plots", "recipe.toml", "report.html", "report.json"}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("board", "the board burned."),
        ("bug", "odd"),
        ("ctrl-c", "interrupted"),
        ("sigterm", "interrupted"),
    ],
)
def test_a_failure_is_recorded_and_leaves_no_good_folder(fault: str, message: str, client: Any, tmp_path: Path) -> None:
    with pytest.raises(FAULTS[fault]) as raised:
        run(recipe(tmp_path, Weigh(), Ship(fault)), CORTEX_M4, out=tmp_path / "build")
    (left,) = (tmp_path / "build").iterdir()
    assert left.name == "small-cortex-m4-1.failed"
    assert raised.value.__notes__ == [f"What was made until then is in {left}."]
    parent, weigh, ship = last_runs(client)
    assert weigh.info.status == "FINISHED"
    for failed in (parent, ship):
        assert failed.info.status == "FAILED"
        assert failed.data.tags["error"] == message


def test_a_folder_that_can_not_get_its_name_is_a_failure(client: Any, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Blocks(Ship):
        def run(self, artifact: FloatModel, ctx: Context) -> Measured:
            ctx.folder.with_suffix("").mkdir()
            (ctx.folder.with_suffix("") / "x").touch()
            return super().run(artifact, ctx)

    out = tmp_path / "build"
    with pytest.raises(PipelineError, match=r"can not get its name, .*/small-cortex-m4-1: Directory not empty\.") as e:
        run(recipe(tmp_path, Weigh(), Blocks()), CORTEX_M4, out=out)
    assert e.value.__notes__ == [f"What was made until then is in {out / 'small-cortex-m4-1.failed'}."]
    assert (out / "small-cortex-m4-1.failed" / "report.json").is_file()
    assert last_runs(client)[0].info.status == "FAILED"


@pytest.mark.cross
def test_what_nothing_flashes_is_told_first_and_found_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file to flash is where the message says, though the run's folder gets another name when it fails."""

    @dataclass(frozen=True)
    class Stop(Ship):
        def run(self, artifact: FloatModel, ctx: Context) -> Measured:
            (ctx.folder / "x.bin").write_bytes(b"image")
            raise DeviceError(f"flash {ctx.folder / 'x.bin'}.")

    mine, theirs = pty.openpty()
    bench, said = tmp_path / "bench.toml", io.StringIO()
    bench.write_text(f'[cortex-m4]\nport = "{os.ttyname(theirs)}"\nkind = "measured"\n')
    display = Display(Console(file=said, width=1000))
    with pytest.raises(DeviceError) as raised:
        run(recipe(tmp_path, Weigh(), Stop()), CORTEX_M4, out=tmp_path / "build", bench=bench, display=display)
    assert said.getvalue().startswith(
        f"nothing flashes cortex-m4 on {os.ttyname(theirs)}: unless it runs this very firmware"
    )
    assert Path(str(raised.value).removeprefix("flash ").removesuffix(".")).read_bytes() == b"image"
    os.close(mine)
    os.close(theirs)


def test_bad_data_fails_before_any_stage(client: Any, tmp_path: Path) -> None:
    bad = replace(recipe(tmp_path, Weigh(), Ship()), data=DataRecipe(source="none.npz"))
    with pytest.raises(RecipeError, match=r"none\.npz does not exist"):
        run(bad, CORTEX_M4, out=tmp_path / "build")
    assert list((tmp_path / "build").iterdir()) == []
    (parent,) = last_runs(client)
    assert parent.info.status == "FAILED"
    assert "none.npz does not exist" in parent.data.tags["error"]


def test_a_stage_that_is_listed_twice_keeps_the_files_of_both(tmp_path: Path) -> None:
    cut = [Prune(keep=keep, steps=1, epochs=0, criterion="magnitude") for keep in (0.8, 0.5)]
    folder = run(recipe(tmp_path, Weigh(), *cut, Ship()), CORTEX_M4, out=tmp_path / "build").folder
    for kept in ("prune", "prune-2"):
        weights, module = (np.load(folder / kept / f"{name}.npz") for name in ("weights", "module"))
        assert all(np.array_equal(weights[name], module[name]) for name in weights)
    first, second = ((folder / kept / "pruning.md").read_text() for kept in ("prune", "prune-2"))
    assert "789,760 ->" in first
    assert "789,760 ->" not in second


def test_order_is_checked() -> None:
    check_order([Train(), Prune(), Distill(), Ship()])
    with pytest.raises(RecipeError, match=r"'prune' takes a FloatModel, but the recipe gives a Source"):
        check_order([Prune(), Train(), Ship()])
    with pytest.raises(RecipeError, match=r"'ship' takes a FloatModel, but 'ship' gives a Measured"):
        check_order([Train(), Ship(), Ship()])
    with pytest.raises(RecipeError, match=r"the last must be 'measure'; 'train' gives a FloatModel"):
        check_order([Train()])


def test_a_stage_checks_what_stands_around_it(tmp_path: Path) -> None:
    check_stages(recipe(tmp_path, Train(), Prune(), Distill(), Ship()), None, ())
    for wrong in ((Train(), Distill(), Ship()), (Train(), Distill(), Prune(), Ship())):
        with pytest.raises(RecipeError, match=r"distill has no teacher.*Add a \[prune\] table"):
            check_stages(recipe(tmp_path, *wrong), None, ())


@dataclass(frozen=True)
class Picky(Weigh):
    """Refuses all; the words say what it was shown."""

    name: ClassVar[str] = "picky"

    def check(self, shown: Any, source: Source | None, targets: Any) -> None:
        if source is not None:
            stages = ", ".join(s.name for s in shown.stages)
            raise RecipeError(f"no {source.data.name} for {targets[0].name} in {stages}")


def test_a_stage_of_any_name_checks_the_data_before_work(client: Any, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no digits for cortex-m4 in picky, ship"):
        run(recipe(tmp_path, Picky(), Ship()), CORTEX_M4, out=tmp_path / "build")
    assert list((tmp_path / "build").iterdir()) == []


@pytest.mark.parametrize("file", ["run.py", "recipe.py"])
def test_the_loop_and_the_recipe_name_no_stage(file: str) -> None:
    text = (PACKAGE / file).read_text(encoding="utf-8")
    named = re.compile(rf"(?i)\b({'|'.join(stages.names())})\b")
    assert named.search("from pipeline.stages.quantize import Quantize")
    assert named.findall(text) == []


def test_missing_tools_are_named_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    message = r"target cortex-m4 needs .*arm-none-eabi-gcc \(builds the firmware\) and .*qemu-system-arm .*Install: "
    with pytest.raises(BuildError, match=message):
        run(recipe(tmp_path, Weigh(), Ship()), CORTEX_M4, out=tmp_path / "build")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        ("device", {"machine": "mps2-an999"}, "mps2-an999"),
        ("device", {"hal": "nosuchboard"}, "nosuchboard"),
        ("cpu", {"core": "cortex-m99"}, "cortex-m99"),
        ("device", {"transport": "serial"}, r"nothing says where cortex-m4 is connected.*bench\.toml"),
    ],
)
def test_a_wrong_target_is_refused_before_any_work(part: str, wrong: dict[str, str], message: str, tmp_path: Path) -> None:
    target = replace(CORTEX_M4, **{part: replace(getattr(CORTEX_M4, part), **wrong)})
    with pytest.raises(PipelineError, match=message):
        run(recipe(tmp_path, Weigh(), Ship()), target, out=tmp_path / "build")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cross
def test_an_absent_port_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text('[cortex-m4]\nport = "/dev/ttyACM77"\n')
    with pytest.raises(PipelineError, match=r"port '/dev/ttyACM77' of cortex-m4 can not be opened: there is no such port"):
        run(recipe(tmp_path, Weigh(), Ship()), CORTEX_M4, out=tmp_path / "build", bench=tmp_path / "bench.toml")
    assert not (tmp_path / "build").exists()


@pytest.mark.cross
def test_the_bench_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever becomes of it while the run works."""
    mine, theirs = pty.openpty()
    bench, reads = tmp_path / "bench.toml", []

    def counting(path: Path, *rest: Any) -> Any:
        reads.append(path)
        return read_toml(path, *rest)

    @dataclass(frozen=True)
    class Rewrite(Weigh):
        def run(self, artifact: Source, ctx: Context) -> FloatModel:
            bench.write_text("[no table")
            return super().run(artifact, ctx)

    @dataclass(frozen=True)
    class Seek(Ship):
        def run(self, artifact: FloatModel, ctx: Context) -> Measured:
            seen.append(ctx.device.where)
            return super().run(artifact, ctx)

    seen: list[str] = []
    bench.write_text(f'[cortex-m4]\nport = "{os.ttyname(theirs)}"\nkind = "measured"\n')
    monkeypatch.setattr("pipeline.devices.bench.read_toml", counting)
    run(recipe(tmp_path, Rewrite(), Seek()), CORTEX_M4, out=tmp_path / "build", bench=bench)
    assert seen == [f"cortex-m4 on {os.ttyname(theirs)}"]
    assert reads == [bench]
    os.close(mine)
    os.close(theirs)


def test_a_missing_bench_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"bench file .*none\.toml does not exist"):
        run(recipe(tmp_path, Weigh(), Ship()), CORTEX_M4, out=tmp_path / "build", bench=tmp_path / "none.toml")


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("a file")
    with pytest.raises(RecipeError, match=r"run folder can not be made in .*build: it is a file\. .*--out"):
        run(recipe(tmp_path, Weigh(), Ship()), CORTEX_M4, out=tmp_path / "build")


SLOW_RUN = """
from pipeline.cli import main
import sys
sys.argv = ["pipeline", "run", "recipe.toml", "--target", "cortex-m4"]
main()
"""


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_run_cleanly(sent: signal.Signals, code: int, client: Any, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(
        'name = "small"\n[data]\nsource = "digits"\n[model]\nfactory = "digits_cnn"\n[train]\nepochs = 9000\n'
    )
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 90
        while not list(tmp_path.glob("build/*.partial")) or not _training(client):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.2)
        process.send_signal(sent)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert "Traceback" not in said
    assert said.splitlines()[-2:] == ["train     interrupted", "Interrupted." if code == 130 else "Terminated."]
    assert list((tmp_path / "build").iterdir()) == []
    parent, train = last_runs(client)
    assert (parent.info.status, train.info.status) == ("FAILED", "FAILED")


def _training(client: Any) -> bool:
    if client.get_experiment_by_name("small") is None:
        return False
    last = last_runs(client)[-1]
    return bool(last.info.run_name == "train" and last.info.status == "RUNNING" and last.data.metrics)
