"""Which of a recipe's stages a run goes through: all, or from a saved artifact on, or until a stage."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts import Measured, Package
from pipeline.data.source import Source
from pipeline.errors import RecipeError, did_you_mean
from pipeline.firmware.made_for import require_made_for
from pipeline.made_with import require_made_with
from pipeline.recipe import Recipe
from pipeline.saved.artifact import load
from pipeline.saved.index import INDEX, file_sha256, read_index
from pipeline.stage import Stage
from pipeline.target import Target

Steps = tuple[tuple[str, Stage], ...]
"""Stages, each with the name of its folder in a run's."""


@dataclass(frozen=True)
class Plan:
    """`shared` stages run once, those of `each` for every target; `start` is the folder of the artifact they start from."""

    shared: Steps
    each: Steps
    start: Path | None
    complete: bool

    def first(self, source: Source, targets: Sequence[Target], work: Path) -> Any:
        """What the first stage takes: the recipe's data and model, or the saved artifact. A package, which the report is
        about, too, is copied into `work`. RecipeError when it does not fit the recipe or the targets."""
        if self.start is None:
            return source
        saved = load(self.start, source)
        if saved.target is not None and [t.name for t in targets] != [saved.target]:
            raise RecipeError(
                f"--from {self.start} is a package for {saved.target}, and the run is for "
                f"{', '.join(t.name for t in targets)}. Give --target {saved.target} alone."
            )
        if not isinstance(saved.artifact, Package):
            return saved.artifact
        require_made_for(saved.artifact.folder, targets[0], f"--from {self.start}: its package")
        old, new = saved.artifact.folder, work / saved.artifact.folder.name
        shutil.copytree(old, new)
        return saved.artifact.moved(old, new)

    def tags(self) -> dict[str, str]:
        """Where the run came from, for its record."""
        if self.start is None:
            return {}
        return {"from": str(self.start.resolve()), "from_sha256": file_sha256(self.start / INDEX)}

    def going_on(self, target: Target, targets: Sequence[Target]) -> Sequence[Target]:
        """Those of the run's `targets` for which it can go on from what was made for `target`."""
        return targets if self.complete or not self.each else (target,)

    def next(self, work: Path, final: Path, part: str, targets: Sequence[Target], places: Mapping[str, Path | None]) -> str:
        """The command that goes on, for `targets`, after a run that stopped early in `work`, which becomes `final`; `part`
        is the folder in it of the report that says so, and `places` the options of this run that it needs as well. "" when
        no more can be done."""
        kept = Path(part, self.each[-1][0]) if self.each else Path(self.shared[-1][0])
        if self.complete or not (work / kept / INDEX).is_file():
            return ""
        to = [word for target in targets for word in ("--target", target.name)]
        words = ["pipeline", "run", str(final / part / "recipe.toml"), *to, "--from", str(final / kept)]
        return shlex.join([*words, *(w for option, p in places.items() if p for w in (option, str(p.resolve())))])


def plan(recipe: Recipe, until: str, start: Path | None, targets: Sequence[Target] = ()) -> Plan:
    """The stages after the one that made the artifact in `start`, up to and with the last one called `until`. RecipeError
    when the recipe has no such stages, or none is left, or the artifact was made with other settings."""
    steps = steps_of(recipe.stages)
    end = len(steps)
    if until:
        end = 1 + _place(f"--until {until}", until, [s.name for _, s in steps])
    begin = 0
    if start is not None:
        index = read_index(start)
        begin = 1 + _place(f"--from {start}: it was made by {index.stage!r}", index.stage, [folder for folder, _ in steps])
        if begin >= end:
            last = f"--until {until}" if until else "the recipe's last stage"
            raise RecipeError(f"--from {start}: it was made by {index.stage!r}, and up to {last} nothing is left to run.")
        require_made_with(index.made_with, recipe, steps, index.stage, targets, f"--from {start}: it")
    chosen = steps[begin:end]
    shared = tuple(step for step in chosen if not _per_target(step[1]))
    return Plan(shared, chosen[len(shared) :], start, end == len(steps))


def steps_of(stages: Sequence[Stage]) -> Steps:
    """Each stage with the name of its folder in a run's: the stage's own, for the second of that name <name>-2."""
    names = [stage.name for stage in stages]
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return tuple((s.name if n == 1 else f"{s.name}-{n}", s) for s, n in zip(stages, counts, strict=True))


def _place(what: str, name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise RecipeError(
            f"{what}: the recipe has no stage {name!r}.{did_you_mean(name, names)} It has: "
            f"{', '.join(dict.fromkeys(names))}."
        )
    return len(names) - 1 - list(reversed(names)).index(name)


def _per_target(stage: Stage) -> bool:
    """Whether what it makes is for one target; so are all stages after it."""
    return issubclass(stage.produces, Package | Measured)
