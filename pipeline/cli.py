"""The command line: options in, calls out. No logic, and nothing heavy imported before a command needs it."""

from __future__ import annotations

import gc
import io
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import PipelineError, RecipeError
from pipeline.host.messages import reported
from pipeline.options import Bench, Json, ModelFlash, ModelRam, Optimize, TargetsDir, TflmDir

if TYPE_CHECKING:
    from pipeline.target import Target

_FLAG = ""  # as metavar: typer writes <bool> after an option that takes no value

app = typer.Typer(
    name="pipeline",
    help="Prune, distill, quantize to int8, generate firmware, and measure it on the device: every stage tracked in MLflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # "µJ" where only ASCII can be written is no reason to fail
    try:
        app(prog_name="pipeline")
    finally:
        gc.freeze()  # or the interpreter walks torch's millions of objects before it ends: seconds after the last line


def _version(wanted: bool) -> None:
    if wanted:
        from pipeline import __version__

        typer.echo(f"pipeline {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", metavar=_FLAG, callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="RECIPE", help="A recipe; without one, the bundled examples/digits.toml.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", metavar="TARGET", help="Where to run: see `pipeline targets`.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe: --set prune.keep=0.4."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the run's folder is made.")] = Path("build"),
    json: Json = None,
    bench: Bench = None,
    accept_new_host_key: Annotated[
        bool,
        typer.Option(
            "--accept-new-host-key", metavar=_FLAG, help="Trust an SSH host that known_hosts lacks, and remember it."
        ),
    ] = False,
    until: Annotated[
        str, typer.Option("--until", metavar="STAGE", help="Stop after this stage: --until quantize.", show_default=False)
    ] = "",
    start: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Start from what a stage of another run made: build/<run>/quantize."),
    ] = None,
    tflm_dir: TflmDir = None,
    targets_dir: TargetsDir = None,
) -> None:
    """Take a model through every stage to one target or several, and measure it there."""
    with reported():
        from rich.console import Console

        chosen = _targets(target or [], targets_dir)
        _check_output(json)
        console = Console(stderr=True)
        if recipe is None:
            console.print("no recipe given: running the bundled example, the digits recipe", style="dim")
        from pipeline.recipe import default_path, load, quoted

        tflm = [f"codegen.tflm_dir={quoted(str(tflm_dir.resolve()))}"] if tflm_dir else []
        loaded = load(recipe or default_path(), [*(settings or ()), *tflm])
        with console.status("loading torch"):
            from pipeline.report.progress import Display
            from pipeline.report.table import print_outcome
            from pipeline.report.write import outcome_text
            from pipeline.run import run_targets

        outcome = run_targets(
            loaded,
            chosen,
            out=out,
            bench=bench,
            accept_new_host_key=accept_new_host_key,
            display=Display(console),
            until=until,
            start=start,
            targets_dir=targets_dir,
        )
        print_outcome(outcome.reports, outcome.agreements, Console())
        _write(json, outcome_text(outcome.reports, outcome.agreements))


@app.command("compile")
def compile_(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A .tflite, .onnx, .keras or .h5 file, or a SavedModel folder.")
    ],
    target: Annotated[str, typer.Option("--target", "-t", metavar="TARGET", help="See `pipeline targets`.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The firmware folder; else build/<model>-<target>.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An .npz with real inputs in `x`, for models that are not int8 yet.")
    ] = None,
    optimize: Optimize = "speed",
    model_flash: ModelFlash = None,
    model_ram: ModelRam = None,
    json: Json = None,
    tflm_dir: TflmDir = None,
    targets_dir: TargetsDir = None,
) -> None:
    """Turn a model that some other tool made into proven firmware for a Cortex-M target."""
    with reported():
        _check_output(json)
        from rich.console import Console

        from pipeline.compile import compile_model
        from pipeline.firmware.manifest import read_manifest
        from pipeline.lowering.budget import budget_of
        from pipeline.report.imported import compiled_json, print_compiled

        budget = budget_of(optimize, model_flash, model_ram)
        console = Console(stderr=True)
        with console.status("starting") as status:
            firmware = compile_model(
                model,
                target,
                out,
                calibration,
                targets_dir=targets_dir,
                tflm_dir=tflm_dir,
                budget=budget,
                report=lambda what: status.update(what),
            )
        manifest = read_manifest(firmware.folder)
        print_compiled(firmware, manifest, Console())
        _write(json, compiled_json(firmware, manifest))


@app.command()
def measure(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A firmware folder, of `compile` or of a run.")],
    inputs: Annotated[
        Path | None, typer.Option(metavar="FILE", help=".npy, or .npz with `x` and labels in `y`; else the folder's own.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N inputs.")] = None,
    outputs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the device's raw int8 answers here (.npy).")
    ] = None,
    json: Json = None,
    bench: Bench = None,
) -> None:
    """Replay inputs on the device a firmware folder was built for; compare every byte, time it, score it."""
    with reported():
        _check_output(json)
        _check_output(outputs, "--outputs")
        from rich.console import Console

        from pipeline.replay import measure as replay
        from pipeline.replay import save_outputs
        from pipeline.report.imported import measured_json, print_measured
        from pipeline.report.progress import Display

        with Display(Console(stderr=True)) as display, display.stage("measure"):
            result = replay(folder, inputs, limit=limit, bench=bench, progress=display.progress)
        print_measured(result, Console())
        _write(json, measured_json(result))
        save_outputs(result, outputs)


@app.command()
def targets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this target in full.")] = None,
    targets_dir: TargetsDir = None,
) -> None:
    """List the targets, or show one."""
    with reported():
        from rich.console import Console

        from pipeline import target as target_files
        from pipeline.report.listing import print_target, print_targets

        if name is None:
            found = [target_files.load(n, targets_dir) for n in target_files.names(targets_dir)]
            print_targets(found, Console())
        else:
            print_target(target_files.load(name, targets_dir), Console())


@app.command()
def doctor() -> None:
    """Say which tools are here, their versions, and how to get the others. Exits with 1 when a required one is missing."""
    with reported():
        from rich.console import Console

        from pipeline.report.listing import print_findings

        if not print_findings(Console()):
            raise typer.Exit(1)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
) -> None:
    """Serve MLflow's pages on the recorded runs, until Ctrl-C."""
    with reported():
        from pipeline.tracking.ui import serve_ui

        serve_ui(port)


@app.command()
def clean(
    target: Annotated[str, typer.Option("--target", "-t", metavar="TARGET", help="A Linux target of bench.toml.")],
    bench: Bench = None,
    targets_dir: TargetsDir = None,
) -> None:
    """Remove what was put on a target's computer: models, the runner, its virtual environment."""
    with reported():
        (chosen,) = _targets([target], targets_dir)
        from pipeline.devices.resolve import resolve_device

        typer.echo(resolve_device(chosen, bench).clean())


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")]) -> None:
    """Write a commented recipe, a model and data that run as they are, to be replaced by your own."""
    with reported():
        from pipeline.scaffold import scaffold

        for path in scaffold(folder):
            typer.echo(path)
        typer.echo(f"Run it: pipeline run {shlex.quote(str(folder / 'recipe.toml'))} --target cortex-m4")


def _targets(names: list[str], targets_dir: Path | None) -> list[Target]:
    from pipeline import target

    if not names:
        known = ", ".join(target.names(targets_dir))
        raise RecipeError(f"--target is missing. It must be given; known targets: {known}.")
    return [target.load(name, targets_dir) for name in dict.fromkeys(names)]


def _check_output(path: Path | None, option: str = "--json") -> None:
    """Refuse an output file that could not be written, before minutes of work."""
    if path is None:
        return
    folder = path.resolve().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RecipeError(f"{option} {path} can not be written: give a file in an existing folder you may write to.")


def _write(path: Path | None, text: str) -> None:
    if path is None:
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise PipelineError(f"--json {path} can not be written: {e.strerror}. Give another file, or make room.") from None
