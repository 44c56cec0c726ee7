"""Options of the command line that several commands take, or that belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TflmDir = Annotated[
    Path | None,
    typer.Option("--tflm-dir", metavar="DIR", help="A prebuilt TFLite Micro library: build the firmware on it, too."),
]
TargetsDir = Annotated[
    Path | None, typer.Option("--targets-dir", metavar="DIR", help="Your own targets, searched before ./targets.")
]
Bench = Annotated[
    Path | None, typer.Option("--bench", metavar="FILE", help="Which boards and computers are where; else ./bench.toml.")
]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here too, as JSON.")]
Optimize = Annotated[
    str, typer.Option("--optimize", metavar="WHAT", help="Fewest instructions (speed), least flash (size), or balanced.")
]
ModelFlash = Annotated[
    int | None,
    typer.Option("--model-flash", metavar="BYTES", help="Flash that the model's constants and code may take at most."),
]
ModelRam = Annotated[
    int | None,
    typer.Option("--model-ram", metavar="BYTES", help="RAM that its activations and scratch may take at most."),
]
