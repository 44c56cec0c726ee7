"""The task's first score after each stage up to int8, a row a seed: `python scripts/seeds.py`, which takes a minute. Or of
another recipe:

python scripts/seeds.py my-model/recipe.toml --seeds 1 2 3 --set prune.keep=0.4 train.epochs=50

Nothing is built or recorded. A seed decides the first weights, the order of the images and the validation split; the test
split is the same for all. Settings are chosen with `--held-out`: a fifth of the other images stands for it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from unrecorded import Unrecorded, silent

from pipeline import recipe, target
from pipeline.data import dataset, source
from pipeline.data.bundled import stratified
from pipeline.data.dataset import Dataset
from pipeline.devices.resolve import resolve_device
from pipeline.errors import PipelineError
from pipeline.plan import plan
from pipeline.run import load_source
from pipeline.stage import Context
from pipeline.stages.quantize import Quantize
from pipeline.tasks.task import Measure, headline


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", type=Path, default=recipe.default_path())
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--held-out", action="store_true", help="leave the test split alone, to choose settings by")
    arguments = parser.parse_args()
    found: list[Mapping[str, float]] = []
    try:
        for seed in arguments.seeds:
            wanted = recipe.load(arguments.recipe, [*arguments.overrides, f"seed={seed}"])
            measure, row = scores(wanted, arguments.held_out)
            found.append(row)
            if len(found) == 1:
                unit = f", {measure.unit}," if measure.unit else ""
                where = "what is held out" if arguments.held_out else "the test split"
                print(f"{measure.label}{unit} on {where} after each stage:\n")
                print(_line(["seed", *row]), _line(["---", *("--:" for _ in row)]), sep="\n")
            print(_line([str(seed), *(shown(measure, value) for value in row.values())]), flush=True)
    except PipelineError as e:
        print(f"Error: {e}", file=sys.stderr)
        return e.exit_code
    print(_line(["mean", *(shown(measure, mean(row[name] for row in found)) for name in found[0])]))
    return 0


def scores(wanted: recipe.Recipe, on_held_out: bool = False) -> tuple[Measure, dict[str, float]]:
    """The task's headline, and what it is on the test split, or on what is held out in its place, after each stage that
    gives it, by the name of the stage's folder in a run's: a stage may come twice."""
    found: dict[str, dict[str, float]] = {}
    device = resolve_device(target.load("cortex-m4"))  # stages before codegen ask nothing of it
    artifact: Any = load_source(wanted, ())
    if on_held_out:
        artifact = source.load(wanted.model, held_out(wanted), wanted.seed, wanted.folder, wanted.code_folders)
    task = artifact.data.task
    with tempfile.TemporaryDirectory() as folder:
        for step, stage in plan(wanted, "", None).shared:
            if on_held_out and isinstance(stage, Quantize):
                stage = replace(stage, calibration="")  # a set may name images that are held out
            log = Unrecorded()
            context = Context(
                device, Path(folder), wanted.seed, log, silent, name=wanted.name, code_folders=wanted.code_folders
            )
            artifact = stage.run(artifact, context)
            found[step] = log.figures
    measure = headline(task, {name: value for figures in found.values() for name, value in figures.items()})
    return measure, {step: figures[measure.name] for step, figures in found.items() if measure.name in figures}


def held_out(wanted: recipe.Recipe) -> Dataset:
    """The recipe's data without its test split: a fifth of the other images, drawn by the seed, is in its place."""
    data = dataset.load(wanted.data, 0, wanted.folder, wanted.task, wanted.code_folders)
    x, y = np.concatenate([data.x_train, data.x_val]), np.concatenate([data.y_train, data.y_val])
    groups = data.task.group(y)
    rest, held = stratified(groups, 0.2, 1000 + wanted.seed)
    train, val = (rest[part] for part in stratified(groups[rest], wanted.data.validation, wanted.seed))
    return replace(data, x_train=x[train], y_train=y[train], x_val=x[val], y_val=y[val], x_test=x[held], y_test=y[held])


def shown(measure: Measure, value: float) -> str:
    """With one digit more of a percentage than a report has: means differ by less than one image."""
    return f"{100 * value:.2f} %" if measure.percent else measure.show(value)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
