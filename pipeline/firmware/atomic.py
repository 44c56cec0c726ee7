"""A folder that is there whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import BuildError, RecipeError
from pipeline.firmware.manifest import MANIFEST


@contextmanager
def replaced_whole(folder: Path) -> Iterator[Path]:
    """A work folder beside `folder` that takes its place when the block succeeds, and is gone when it does not: `folder`
    then is as it was. RecipeError when it is no place for a firmware folder."""
    folder = folder.resolve()  # a link to it stays one
    try:
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file())):
            raise RecipeError(f"{folder} exists and is no firmware folder of ours; it is left alone. Give another place.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as e:
        raise RecipeError(
            f"the firmware folder can not be made in {folder.parent}: {e.strerror}. Give another place."
        ) from None
    old = work.with_name(f"{work.name}.old")
    try:
        work.chmod(0o755)
        yield work
        if folder.exists():
            folder.rename(old)
        work.rename(folder)
    except OSError as e:
        raise BuildError(
            f"the firmware folder can not be written in {folder.parent}: {e.strerror or e}. Free some space or give another "
            "place, then run it again."
        ) from e
    finally:
        if old.exists() and not folder.exists():  # ended between the two renames
            old.rename(folder)
        for left in (work, old):
            shutil.rmtree(left, ignore_errors=True)
