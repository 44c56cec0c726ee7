"""The stage loop: every check that can be made before work, then stage after stage, each recorded as it goes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline import doctor
from pipeline.data import dataset, source
from pipeline.data.source import Source
from pipeline.devices.serial import BENCH, read_bench
from pipeline.errors import BuildError, RecipeError
from pipeline.importers.torch_export import check_supported
from pipeline.recipe import Recipe
from pipeline.report.figures import ROWS, Figure, Report, StageResult
from pipeline.report.progress import Display
from pipeline.report.write import write_report
from pipeline.stage import Context, Firmware, Kind, Measured, Stage
from pipeline.stages._fit import batch_of
from pipeline.stages.quantize import Quantize
from pipeline.store import is_new, store_uri
from pipeline.target import Target
from pipeline.track import MlflowTracker, RunLog, Tracker, git_commit


def run(
    recipe: Recipe,
    target: Target,
    *,
    out: Path = Path("build"),
    bench: Path | None = None,
    display: Display | None = None,
) -> Report:
    """Take the recipe's model through its stages to `target`; writes `out`/<recipe>-<target>-<n> and one MLflow run.

    Raises a PipelineError with a message for the user. Then, as on Ctrl-C, the MLflow runs are marked FAILED (or KILLED), no
    device or tool is left running, and what the stages wrote is kept as <folder>.failed."""
    start = time.monotonic()
    check_order(recipe.stages)
    _check_tools(target, bench)
    with ExitStack() as stack:
        display = stack.enter_context(display or Display(Console(stderr=True, quiet=True)))
        folder = stack.enter_context(run_folder(out, f"{recipe.name}-{target.name}"))
        with display.step(
            "creating the MLflow store (first time only)" if is_new(store_uri()) else "opening the MLflow store"
        ):
            tracker = stack.enter_context(MlflowTracker(recipe.name, folder.final.name))
        versions = doctor.versions()
        _describe(tracker.log, recipe, target, versions)
        with display.step("loading data and model"):
            first = load_source(recipe)
        tracker.log.dataset(first.data.name, first.data.sha256, recipe.data.source, first.data.profile())
        results, measured = _stages(recipe, first, target, folder.work, bench, tracker, display)
        report = Report(
            recipe=recipe.name,
            recipe_toml=recipe.toml(),
            target=target,
            run_id=tracker.run_id,
            page=tracker.page,
            folder=folder.final,
            stages=results,
            measured=replace(measured, firmware=_moved(measured.firmware, folder)),
            seconds=time.monotonic() - start,
            versions=versions,
        )
        with display.step("writing the report"):
            _record(tracker.log, report, write_report(report, folder.work), measured.firmware)
    return report


def check_order(stages: Sequence[Stage]) -> None:
    """RecipeError unless each stage takes what the one before it gives, from a Source to a Measured."""
    gives: type = Source
    before = "the recipe"
    for stage in stages:
        if not issubclass(gives, stage.consumes):
            raise RecipeError(
                f"stages: {stage.name!r} takes a {stage.consumes.__name__}, but {before} gives a {gives.__name__}. "
                f"The order given is {', '.join(s.name for s in stages)}."
            )
        if stage.name == "distill" and "prune" not in [s.name for s in stages[: stages.index(stage)]]:
            raise RecipeError(
                "distill has no teacher: it is the model before pruning, and no prune stage comes before it. Add a [prune] "
                "table to the recipe or remove [distill]."
            )
        gives, before = stage.produces, repr(stage.name)
    if gives is not Measured:
        raise RecipeError(f"stages: the last must be 'measure'; {before} gives a {gives.__name__}.")


def _check_tools(target: Target, bench: Path | None) -> None:
    """BuildError when something is not installed; RecipeError for a wrong bench file."""
    if bench is not None and not bench.is_file():
        raise RecipeError(f"--bench {bench} does not exist. It says where boards are attached; see `pipeline run --help`.")
    entry = read_bench(bench or BENCH).get(target.name)
    tools = doctor.needed(target, attached=entry is not None and bool(entry.port))
    doctor.require(tools, f"target {target.name}")


def load_source(recipe: Recipe) -> Source:
    """The recipe's data and model, which fit each other, have an int8 form, and can be calibrated. RecipeError or GraphError
    before anything is trained."""
    data = dataset.load(recipe.data, recipe.seed, recipe.folder)
    loaded = source.load(recipe.model, data, recipe.seed, recipe.folder)
    check_supported(loaded.module, batch_of(data, data.x_train[:2]))
    for stage in recipe.stages:
        if isinstance(stage, Quantize):
            stage.select(data)
    return loaded


@dataclass(frozen=True, slots=True)
class RunFolder:
    """`work` is where stages write; it becomes `final` when, and only when, all went well."""

    work: Path
    final: Path


@contextmanager
def run_folder(out: Path, prefix: str) -> Iterator[RunFolder]:
    """A new folder `out`/`prefix`-<n>. While it is being made it is called <n>.partial; after a failure <n>.failed, or it is
    gone when it is empty or the run was interrupted."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = _reserve(out.resolve(), prefix)
    except OSError as e:
        raise BuildError(f"the run folder can not be made in {out}: {e.strerror}. Give another place with --out.") from None
    try:
        yield folder
    except KeyboardInterrupt:
        shutil.rmtree(folder.work, ignore_errors=True)
        raise
    except BaseException as e:
        if any(folder.work.iterdir()):
            failed = folder.work.rename(folder.final.with_name(f"{folder.final.name}.failed"))
            e.add_note(f"What was made until then is in {failed}.")
        else:
            folder.work.rmdir()
        raise
    folder.work.rename(folder.final)


def _reserve(out: Path, prefix: str) -> RunFolder:
    """The first free number: mkdir decides between runs that start at once."""
    number = 1
    while True:
        final = out / f"{prefix}-{number}"
        work = out / f"{final.name}.partial"
        if not final.exists() and not (out / f"{final.name}.failed").exists():
            try:
                work.mkdir()
                return RunFolder(work, final)
            except FileExistsError:
                pass
        number += 1


def _moved(firmware: Firmware, folder: RunFolder) -> Firmware:
    """The firmware as it is found once `work` has become `final`."""
    moved = {k: folder.final / getattr(firmware, k).relative_to(folder.work) for k in ("folder", "elf")}
    return replace(firmware, **moved)


@dataclass(eq=False)
class _Recorder:
    """A stage's log that also remembers the final figures, for the report."""

    log: RunLog
    figures: dict[str, Figure] = field(default_factory=dict)

    def metrics(self, values: Mapping[str, float], kind: Kind = "computed", step: int | None = None) -> None:
        self.log.metrics(values, kind, step)
        if step is None:
            self.figures.update({name: Figure(name, float(value), kind) for name, value in values.items()})

    def params(self, values: Mapping[str, Any]) -> None:
        self.log.params(values)

    def tags(self, values: Mapping[str, str]) -> None:
        self.log.tags(values)

    def file(self, path: Path, folder: str = "") -> None:
        self.log.file(path, folder)

    def text(self, text: str, name: str) -> None:
        self.log.text(text, name)


def _stages(
    recipe: Recipe,
    first: Source,
    target: Target,
    folder: Path,
    bench: Path | None,
    tracker: Tracker,
    display: Display,
) -> tuple[tuple[StageResult, ...], Measured]:
    artifact: Any = first
    results: list[StageResult] = []
    for stage in recipe.stages:
        start = time.monotonic()
        with display.stage(stage.name), tracker.stage(stage.name, settings_of(stage)) as log:
            recorder = _Recorder(log)
            artifact = stage.run(artifact, Context(target, folder, recipe.seed, recorder, display.progress, bench))
            seconds = time.monotonic() - start
            log.metrics({"stage_s": seconds}, "measured")
        result = StageResult(stage.name, tuple(recorder.figures.values()), seconds)
        display.finished(result)
        results.append(result)
    assert isinstance(artifact, Measured)  # check_order
    return tuple(results), artifact


def settings_of(part: Any) -> dict[str, Any]:
    """A stage's fields: its recipe keys and its MLflow params."""
    return {f.name: getattr(part, f.name) for f in fields(part) if f.init}


def _describe(log: RunLog, recipe: Recipe, target: Target, versions: Mapping[str, str]) -> None:
    """What was asked for and with what, before anything runs."""
    tables = recipe.settings()
    flat = {f"{t}.{k}": v for t, table in tables.items() if isinstance(table, Mapping) for k, v in table.items()}
    log.params(
        {"recipe": recipe.name, "seed": recipe.seed, "stages": ", ".join(tables["stages"]), "target": target.name, **flat}
    )
    log.tags(
        {
            "target": target.name,
            "recipe_sha256": recipe.sha256(),
            "git_commit": git_commit(recipe.folder) or git_commit(Path.cwd()),
            **({"overrides": "; ".join(recipe.overrides)} if recipe.overrides else {}),
            **{f"version.{name.replace(' ', '-')}": version for name, version in versions.items()},
        }
    )
    log.text(recipe.toml(), "recipe.toml")


def _record(log: RunLog, report: Report, written: Sequence[Path], firmware: Firmware) -> None:
    """The run's own figures, so that runs compare in MLflow's table, and its files."""
    last = {f.name: f for s in report.stages for f in s.figures}
    for name in (n for n in ROWS if n in last and n != "accuracy"):
        log.metrics({name: last[name].value}, last[name].kind)
    accuracies = {f"accuracy_{k}": v for k, v in report.json()["accuracy"].items() if v is not None}
    log.metrics({"accuracy_device": accuracies.pop("accuracy_device")}, last["accuracy"].kind)
    log.metrics(accuracies)
    exact = report.measured.bit_exact
    log.metrics({"bit_exact_vectors": exact.vectors, "bit_exact_equal": exact.equal})
    for path in written:
        log.file(path, "plots" if path.parent.name == "plots" else "")
    log.files(firmware.folder, "firmware")
