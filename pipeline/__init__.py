"""Prune, distill, quantize to int8, generate firmware, and measure it on the device; every stage recorded in MLflow.

`pipeline.run_recipe(path, target)` is what `pipeline run` does. Nothing heavy is imported before it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.report.figures import Report

__all__ = ["__version__", "run_recipe"]


def run_recipe(
    recipe: str | Path,
    target: str,
    *,
    settings: Sequence[str] = (),
    out: str | Path = "build",
    bench: str | Path | None = None,
    targets_dir: str | Path | None = None,
) -> Report:
    """Run the recipe file on the named target; `settings` are "key=value" as for --set. Raises PipelineError."""
    from pipeline.recipe import load
    from pipeline.run import run
    from pipeline.target import load as load_target

    chosen = load_target(target, Path(targets_dir) if targets_dir else None)
    return run(load(Path(recipe), settings), chosen, out=Path(out), bench=Path(bench) if bench else None)


def __getattr__(name: str) -> str:
    if name == "__version__":
        import importlib.metadata

        return importlib.metadata.version("tinyml-pipeline")
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
