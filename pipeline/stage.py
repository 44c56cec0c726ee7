"""What a stage is, and what it may use: a frozen dataclass whose fields ARE the recipe keys, the docs
and the MLflow params; it consumes one artifact and produces the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from pipeline.errors import RecipeError
from pipeline.host.users_code import wrap_user_errors
from pipeline.measurement.kind import Kind

if TYPE_CHECKING:  # torch and numpy stay out of `pipeline --help`
    from pipeline.data.source import Source
    from pipeline.devices.device import Device
    from pipeline.target import Target


class Progress(Protocol):
    """`with ctx.progress("epochs", total=30) as advance: ...; advance(1, "loss 0.31")`."""

    def __call__(self, description: str, total: int) -> AbstractContextManager[Advance]: ...


class Advance(Protocol):
    def __call__(self, steps: int = 1, note: str = "") -> None: ...


class StageLog(Protocol):
    """One stage's nested run. Metric names carry their unit ("latency_us_median"); every figure has a kind."""

    def metrics(self, values: Mapping[str, float], kind: Kind = "computed", step: int | None = None) -> None: ...
    def params(self, values: Mapping[str, Any]) -> None: ...
    def tags(self, values: Mapping[str, str]) -> None: ...
    def file(self, path: Path, folder: str = "") -> None: ...


@dataclass(frozen=True)
class Context:
    """What a stage may use besides its artifact. `device` is the target and what runs its models, resolved before any work.
    `folder` is the run's folder; the stage writes below it, its own files in `kept`: another folder each time that a stage
    is listed. `name` is the recipe's: what the model is called in the generated code. Modules of the user's are looked for
    in `code_folders`."""

    device: Device
    folder: Path
    seed: int
    log: StageLog
    progress: Progress
    name: str = "model"
    code_folders: tuple[Path, ...] = ()
    kept_in: str = ""

    @property
    def target(self) -> Target:
        return self.device.target

    @property
    def kept(self) -> Path:
        return self.folder / self.kept_in


def keep_text(text: str, ctx: Context, name: str) -> None:
    """Write the file `name` to the stage's folder in the run's, and record it."""
    path = ctx.kept / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    ctx.log.file(path)


class Stage(Protocol):
    """`consumes` and `produces` are artifact classes; `recipe.check_order` compares them before anything runs."""

    name: ClassVar[str]
    consumes: ClassVar[type]
    produces: ClassVar[type]

    def run(self, artifact: Any, ctx: Context) -> Any: ...


class StagesOfRecipe(Protocol):
    """What a stage may know of the recipe that it is in: the stages in order, and which settings of each the user wrote."""

    @property
    def stages(self) -> Sequence[Stage]: ...
    @property
    def given(self) -> Mapping[str, Collection[str]]: ...
    @property
    def references(self) -> Mapping[str, str]:
        """By its name, where each stage that is the user's own comes from."""

    @property
    def code_folders(self) -> Sequence[Path]:
        """Where modules of the user's are looked for."""


@runtime_checkable
class Checked(Protocol):
    """A stage that has something to refuse before any work."""

    def check(self, recipe: StagesOfRecipe, source: Source | None, targets: Sequence[Target]) -> None:
        """RecipeError or GraphError for what can not work. Called when the recipe is read (no `source`, no `targets`), when
        the targets are known, and once more when data and model are loaded."""


@runtime_checkable
class Idle(Protocol):
    """A stage some of whose settings do nothing beside others."""

    def unused(self, targets: Sequence[Target]) -> Mapping[str, str]:
        """The settings that change nothing on any of `targets`: why, and what to do, as the end of "x is of no use "."""


def check_stages(recipe: StagesOfRecipe, source: Source | None, targets: Sequence[Target]) -> None:
    """RecipeError for the first setting that the user wrote and that does nothing; then each stage checks itself."""
    for stage in recipe.stages:
        with users_part(recipe.references, stage.name, "unused()"):
            idle = stage.unused(targets) if isinstance(stage, Idle) else {}
            for key, why in idle.items():
                if key in recipe.given.get(stage.name, ()):
                    raise RecipeError(f"{stage.name}.{key} is of no use {why}")
    for stage in recipe.stages:
        if isinstance(stage, Checked):
            with users_part(recipe.references, stage.name, "check()"):
                stage.check(recipe, source, targets)


def users_part(references: Mapping[str, str], name: str, part: str) -> AbstractContextManager[None]:
    """Around code of the stage `name`: in one of the user's own, whatever it raises becomes a message with its place."""
    if name not in references:
        return nullcontext()
    return wrap_user_errors(f"{part} of stage {references[name]!r} failed")
