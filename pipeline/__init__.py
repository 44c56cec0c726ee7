"""Prune, distill, quantize to int8, generate firmware, and measure it on the device; every stage recorded in MLflow.

`run_recipe(path, target)` is what `pipeline run` does, `compile_model(path, target)` what `pipeline compile` does, and
`measure(firmware, inputs)` what `pipeline measure` does. Nothing heavy is imported before one of them is called.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.compile import compile_model
    from pipeline.firmware.folder import load_firmware
    from pipeline.replay import Result, measure
    from pipeline.report.figures import Report

# Nothing leaves this machine unasked: ONNX Runtime, which reads this when it is imported, reports its use since 1.31.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Result", "__version__", "compile_model", "load_firmware", "measure", "run_recipe"]

_HOME = {
    "compile_model": "pipeline.compile",
    "load_firmware": "pipeline.firmware.folder",
    "measure": "pipeline.replay",
    "Result": "pipeline.replay",
}


def run_recipe(
    recipe: str | Path,
    target: str,
    *,
    settings: Sequence[str] = (),
    out: str | Path = "build",
    bench: str | Path | None = None,
    targets_dir: str | Path | None = None,
    until: str = "",
    start: str | Path | None = None,
) -> Report:
    """Run the recipe file on the named target; `settings` are "key=value" as for --set, `until` and `start` what --until and
    --from say. Raises PipelineError."""
    from pipeline.recipe import load
    from pipeline.run import run
    from pipeline.target import load as load_target

    own = Path(targets_dir) if targets_dir else None
    return run(
        load(Path(recipe), settings),
        load_target(target, own),
        out=Path(out),
        bench=Path(bench) if bench else None,
        until=until,
        start=Path(start) if start else None,
        targets_dir=own,
    )


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from pipeline.locations import version

        return version()
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
