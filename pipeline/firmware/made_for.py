"""Whether a delivered folder is what would be made for a target as its file is now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError, TargetError
from pipeline.firmware.manifest import MANIFEST, read_manifest
from pipeline.firmware.skeleton import driver_place
from pipeline.strict import parse
from pipeline.target import Target

_REACHED_BY = ("transport", "machine", "model", "flash")
"""Of `device`: how it is reached and known, which is in nothing that is written; for a Linux computer no part of it is."""


def require_made_for(folder: Path, target: Target, what: str) -> None:
    """RecipeError, beginning with `what`, when what decides the folder's content is another for `target` by now."""
    manifest = read_manifest(folder)
    stored = parse(Target, manifest.get("target"), f"{folder / MANIFEST}: target", TargetError)
    made, now = dict(_decides(stored)), dict(_decides(target))
    for key in made:
        if made[key] != now[key]:
            raise _another(what, target, f"{key} = {made[key]!r}; its file says {now[key]!r} now")
    if target.family == "cortex_m" and not _same_driver(manifest["files"], target):
        raise _another(what, target, "another driver (hal.c)")


def _decides(target: Target) -> Iterator[tuple[str, Any]]:
    yield "family", target.family
    for part in ("cpu", "memory", *(("device",) if target.family == "cortex_m" else ())):
        for key, value in asdict(target)[part].items():
            if part != "device" or key not in _REACHED_BY:
                yield f"{part}.{key}", value


def _same_driver(files: dict[str, str], target: Target) -> bool:
    """A shipped one is told by its name alone."""
    place = driver_place(target)
    if place not in files or target.driver is None:
        return place in files
    return files[place] == hashlib.sha256(target.driver.read_bytes()).hexdigest()


def _another(what: str, target: Target, made: str) -> RecipeError:
    return RecipeError(
        f"{what} was made for {target.name} with {made}. Start from quantize, so that it is made anew, or give the "
        "target as it was."
    )
