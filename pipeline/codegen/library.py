"""The interpreter-free library as a folder: `<p>.h`, `<p>.c`, `<p>_weights.h` and `kernels/` with only the kernels used."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline.codegen.to_c import kernel_headers, to_c
from pipeline.lowering.lower import Lowered
from pipeline.preprocess import Normalization, Preprocess


def write_library(
    lowered: Lowered,
    folder: Path,
    preprocess: Preprocess | None = None,
    normalization: Normalization | None = None,
    classes: Sequence[str] = (),
) -> tuple[Path, ...]:
    """Write the library into `folder` (created); the files written. With a `normalization` and no `preprocess`, raw values
    are floats, and the library normalises and quantises them. `classes` are the names of the first output's values."""
    (folder / "kernels").mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in to_c(lowered, preprocess, normalization, classes).items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    for header in kernel_headers(lowered, floats=normalization is not None and preprocess is None):
        written.append(Path(shutil.copyfile(header, folder / "kernels" / header.name)))
    return tuple(written)
