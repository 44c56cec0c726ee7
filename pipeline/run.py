"""The stage loop: every check that can be made before work, then stage after stage, each recorded as it goes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.artifacts import Measured, Package
from pipeline.data import dataset, source
from pipeline.data.source import Source
from pipeline.devices.device import Device
from pipeline.devices.resolve import resolve_devices
from pipeline.errors import RecipeError
from pipeline.firmware.cortex_m import require_target
from pipeline.host import tools
from pipeline.host.signals import end_if_asked
from pipeline.made_with import made_with
from pipeline.measurement.kind import Kind
from pipeline.plan import Steps, plan, steps_of
from pipeline.recipe import Recipe
from pipeline.report.agreement import TargetAgreement, compare_targets
from pipeline.report.figures import ROWS, Figure, Report, StageResult
from pipeline.report.progress import Display
from pipeline.report.write import write_report
from pipeline.rerun import keep
from pipeline.run_folder import run_folder
from pipeline.saved.artifact import save
from pipeline.saved.index import NotSavedError
from pipeline.stage import Context, Stage, check_stages, users_part
from pipeline.stage_order import check_order
from pipeline.target import Target
from pipeline.tracking.mlflow import MlflowTracker, git_commit
from pipeline.tracking.store import is_new, store_uri
from pipeline.tracking.tracker import MLFLOW, RunLog, Tracker
from pipeline.tracking.users import UsersTracker


@dataclass(frozen=True, eq=False)
class Outcome:
    """One report a target, in the order asked for, and for each pair of targets how far their answers agree."""

    reports: tuple[Report, ...]
    agreements: tuple[TargetAgreement, ...]


def run(recipe: Recipe, target: Target, **options: Any) -> Report:
    """`run_targets` for one target; `options` are its own."""
    return run_targets(recipe, (target,), **options).reports[0]


def run_targets(
    recipe: Recipe,
    targets: Sequence[Target],
    *,
    out: Path = Path("build"),
    bench: Path | None = None,
    accept_new_host_key: bool = False,
    display: Display | None = None,
    until: str = "",
    start: Path | None = None,
    targets_dir: Path | None = None,
) -> Outcome:
    """Take the recipe's model through its stages to each of `targets`; writes `out`/<recipe>-<targets>-<n> and one MLflow
    run. Stages that make nothing for one target run once. With several targets, each has a folder of its name in the
    run's folder.

    `until` names the last stage to run; `start` is the folder of a saved artifact, to go on after the stage that made it.
    `targets_dir`, where the targets may come from, is for the command that goes on.

    Raises a PipelineError with a message for the user. Then, as on Ctrl-C, the MLflow runs are marked FAILED, no
    device or tool is left running, and what the stages wrote is kept as <folder>.failed."""
    began = time.monotonic()
    check_order(recipe.stages)
    check_stages(recipe, None, targets)
    planned = plan(recipe, until, start, targets)
    devices = resolve_devices(targets, bench, accept_new_host_key=accept_new_host_key)
    for device in devices if planned.each else ():
        _check_tools(device)
    with ExitStack() as stack:
        display = stack.enter_context(display or Display(Console(stderr=True, quiet=True)))
        for advice in filter(None, (device.advice() for device in devices if planned.each)):
            display.say(advice)
        folder = stack.enter_context(run_folder(out, f"{recipe.name}-{'-'.join(t.name for t in targets)}"))
        with display.step(_opening(recipe.tracking.tracker)):
            tracker = stack.enter_context(_tracker(recipe, folder.final.name))
        versions = tools.versions()
        _describe(tracker.log, recipe, targets, versions)
        with display.step("loading data and model"):
            first = load_source(recipe, targets)
            model = planned.first(first, targets, folder.work)
        kept = keep(recipe, folder.work)
        tracker.log.tags(planned.tags())
        tracker.log.dataset(first.data.name, first.data.sha256, recipe.data.source, first.data.profile())
        loop = _Loop(recipe.name, recipe.seed, tracker, display, first, recipe)
        begun, model = loop.stages(planned.shared, model, devices[0], folder.work)
        reports, places = [], {"--targets-dir": targets_dir, "--bench": bench}
        for target, device in zip(targets, devices, strict=True):
            suffix = f" {target.name}" if len(targets) > 1 else ""
            work = folder.work / suffix.strip()
            work.mkdir(exist_ok=True)
            final = folder.final / suffix.strip()
            going_on = planned.going_on(target, targets)
            ended, last = loop.stages(planned.each, model, device, work, suffix)
            measured = last if isinstance(last, Measured) else None
            package = measured.package if measured else last if isinstance(last, Package) else None
            built = package.moved(work, final) if package else None
            report = Report(
                recipe=recipe.name,
                recipe_toml=kept.toml(going_on, work.resolve()),
                target=target,
                run_id=tracker.run_id,
                page=tracker.page,
                folder=final,
                stages=begun + ended,
                measured=replace(measured, package=built) if measured and built else None,
                seconds=time.monotonic() - began,
                versions=versions,
                task=first.data.task,
                built=built,
                tracker="MLflow" if recipe.tracking.tracker == MLFLOW else recipe.tracking.tracker,
                next=planned.next(folder.work, folder.final, suffix.strip(), going_on, places),
            )
            with display.step("writing the report"):
                _record(tracker.log, report, write_report(report, work), package, suffix.strip())
            reports.append(report)
        agreements = compare_targets(reports)
        for pair in agreements:
            name, value = ("top1", pair.top1) if pair.top1 is not None else ("equal_values", pair.equal_values)
            tracker.log.metrics({f"{name}_agreement.{'.'.join(pair.targets)}": value}, "computed")
        folder.finish()  # a run whose folder can not get its name is not recorded as finished
    return Outcome(tuple(reports), agreements)


def _opening(tracker: str) -> str:
    if tracker != MLFLOW:
        return f"opening {tracker}"
    return "creating the MLflow store (first time only)" if is_new(store_uri()) else "opening the MLflow store"


def _tracker(recipe: Recipe, run_name: str) -> Tracker:
    name = recipe.tracking.tracker
    if name == MLFLOW:
        return MlflowTracker(recipe.name, run_name)
    return UsersTracker(name, recipe.code_folders, recipe.name, run_name)


def _require_given(stage: Stage, artifact: Any) -> None:
    """RecipeError when a stage did not give what it says it does: it is one of the user's own."""
    if not isinstance(artifact, stage.produces):
        raise RecipeError(
            f"stage {stage.name!r} gave a {type(artifact).__name__}, but says that it produces a {stage.produces.__name__}."
        )


def _check_tools(device: Device) -> None:
    """Everything about a target that can be known before any work: BuildError when something is not installed, TargetError
    when the compiler or the firmware does not know its core or driver, DeviceError when its port or emulated machine is not
    there."""
    target = device.target
    tools.require((*tools.needed(target), *device.tools()), f"target {target.name}")
    if target.family == "cortex_m":
        require_target(target)
    device.require()


def load_source(recipe: Recipe, targets: Sequence[Target]) -> Source:
    """The recipe's data and model, which fit each other and all stages. RecipeError or GraphError before anything is
    trained."""
    data = dataset.load(recipe.data, recipe.seed, recipe.folder, recipe.task, recipe.code_folders)
    loaded = source.load(recipe.model, data, recipe.seed, recipe.folder, recipe.code_folders)
    check_stages(recipe, loaded, targets)
    return loaded


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


@dataclass(frozen=True, eq=False)
class _Loop:
    """What is the same for every stage of a run."""

    name: str
    seed: int
    tracker: Tracker
    display: Display
    source: Source
    recipe: Recipe

    def stages(
        self, steps: Steps, artifact: Any, device: Device, folder: Path, suffix: str = ""
    ) -> tuple[tuple[StageResult, ...], Any]:
        """Run them in order, each a nested run called by its name and `suffix`, what it made kept in its folder; their
        results, and the last artifact."""
        results: list[StageResult] = []
        for kept, stage in steps:
            start = time.monotonic()
            name = stage.name + suffix
            end_if_asked()
            loaded = isinstance(artifact, Source) and artifact.checkpoint is not None
            with self.display.stage(name), self.tracker.stage(name, settings_of(stage)) as log:
                recorder = _Recorder(log)
                context = Context(
                    device=device,
                    folder=folder,
                    seed=self.seed,
                    log=recorder,
                    progress=self.display.progress,
                    name=self.name,
                    code_folders=self.recipe.code_folders,
                    kept_in=kept,
                )
                with users_part(self.recipe.references, stage.name, "run()"):
                    artifact = stage.run(artifact, context)
                _require_given(stage, artifact)
                self._keep(artifact, folder / kept)
                seconds = time.monotonic() - start
                log.metrics({"stage_s": seconds}, "measured")
            result = StageResult(stage.name, tuple(recorder.figures.values()), seconds, loaded)
            self.display.finished(replace(result, name=name))
            results.append(result)
        return tuple(results), artifact

    def _keep(self, artifact: Any, folder: Path) -> None:
        """Save it for a run that starts from it. One that can not be saved is still good for the stages that follow here."""
        if isinstance(artifact, Measured):  # the last: report.json and measurement.json say what it is
            return
        try:
            settings = made_with(self.recipe, steps_of(self.recipe.stages), folder.name)
            save(artifact, folder, folder.name, self.source, settings)
        except NotSavedError as e:
            self.display.say(f"not saved, so no run can start from here: {e}")


def settings_of(part: Any) -> dict[str, Any]:
    """A stage's fields: its recipe keys and its MLflow params."""
    return {f.name: getattr(part, f.name) for f in fields(part) if f.init}


def _describe(log: RunLog, recipe: Recipe, targets: Sequence[Target], versions: Mapping[str, str]) -> None:
    """What was asked for and with what, before anything runs."""
    tables = recipe.settings()
    names = ", ".join(t.name for t in targets)
    commit = git_commit(recipe.folder) or git_commit(Path.cwd())
    flat = {f"{t}.{k}": v for t, table in tables.items() if isinstance(table, Mapping) for k, v in table.items()}
    log.params({"recipe": recipe.name, "seed": recipe.seed, "stages": ", ".join(tables["stages"]), "target": names, **flat})
    log.tags(
        {
            "target": names,
            "recipe_sha256": recipe.sha256(),
            **({"git_commit": commit} if commit else {}),
            **({"overrides": "; ".join(recipe.overrides)} if recipe.overrides else {}),
            **{f"version.{name.replace(' ', '-')}": version for name, version in versions.items()},
        }
    )
    log.text(recipe.toml(targets), "recipe.toml")


def _record(log: RunLog, report: Report, written: Sequence[Path], package: Package | None, part: str) -> None:
    """The run's own figures, so that runs compare in MLflow's table, and its files. With several targets, `part` is the
    target's name: it ends the figures' names and holds the files."""
    end = f".{part}" if part else ""
    last = {f.name: f for s in report.stages for f in s.figures}
    headline = report.headline.name
    for name in (n for n in ROWS if n in last and n != headline):
        log.metrics({name + end: last[name].value}, last[name].kind)
    by_stage = {f"{headline}_{k}": v for k, v in report.headlines().items() if v is not None}
    if report.measured:
        log.metrics({f"{headline}_device{end}": by_stage.pop(f"{headline}_device")}, last[headline].kind)
        exact = report.measured.bit_exact
        log.metrics({f"bit_exact_vectors{end}": exact.vectors, f"bit_exact_equal{end}": exact.equal})
    log.metrics(by_stage)
    for path in (p for p in written if p.name != "recipe.toml"):  # it has its own, with paths that hold outside the folder
        log.file(path, "/".join(filter(None, (part, "plots" if path.parent.name == "plots" else ""))))
    if package:
        log.files(package.folder, "/".join(filter(None, (part, "firmware"))))
