"""Where the data folders that ship with the package are: in a checkout at its top, in a wheel under pipeline/_data."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Literal

PACKAGE = Path(__file__).resolve().parent


def version() -> str:
    """Of this package, as it is installed."""
    return importlib.metadata.version("tinyml-pipeline")


def data_dir(name: Literal["targets", "calibration", "firmware_templates", "examples"]) -> Path:
    shipped = PACKAGE / "_data" / name
    return shipped if shipped.is_dir() else PACKAGE.parent / name
