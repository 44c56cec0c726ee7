"""Arrays from npz files that may be anything: nothing is unpickled, sizes are bounded, and any damage is a RecipeError."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipeline.display import short
from pipeline.errors import PipelineError, RecipeError
from pipeline.ir import Array

MAX_BYTES = 8 * 2**30
"""Of a file's content, uncompressed. Larger data would not fit a workstation's memory beside its training."""

_HINT = "Give an .npz file of plain number arrays, as numpy.savez writes it."


def read_npz(
    path: Path,
    required: Sequence[str] = (),
    optional: Sequence[str] | None = (),
    *,
    called: str = "",
    hint: str = _HINT,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Array]:
    """The `required` arrays of an npz file and those of the `optional` ones that it has; None: all that it has.

    RecipeError when the file is missing, damaged, larger than `max_bytes` uncompressed, or lacks an array: it names the file
    as `called` (its path) and ends in `hint`, what would work."""
    called = called or str(path)
    if not path.is_file():
        raise RecipeError(f"{called} does not exist. {hint}")
    with readable(called, "an .npz file of plain arrays", hint):
        check_size(path, called, max_bytes)
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            for name in required:
                if name not in members:
                    raise RecipeError(f"{called} has no array {name!r}; it has {_listed(list(members))}. {hint}")
            wanted = list(members) if optional is None else [n for n in (*required, *optional) if n in members]
            return {name: _array(archive, members[name]) for name in wanted}


def _array(archive: zipfile.ZipFile, member: str) -> Array:
    """Not by numpy.load, which falls back on other formats and advises to unpickle what it does not know."""
    with archive.open(member) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


@contextmanager
def readable(called: str, kind: str, hint: str) -> Iterator[None]:
    """Every failure inside is a RecipeError: `called` can not be read as `kind`, with the reason and `hint`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, on odd headers
            yield
    except PipelineError:
        raise
    except Exception as e:  # on damaged bytes zipfile and numpy's header parser raise nearly every error Python has
        raise RecipeError(f"{called} can not be read as {kind} ({_reason(e)}). {hint}") from None


def check_size(path: Path, called: str, max_bytes: int) -> None:
    """RecipeError when the file, or what a zip archive says it unpacks to, is larger: no more than it says is ever read."""
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    if size > max_bytes:
        raise RecipeError(f"{called} holds {size:,} bytes of arrays, more than the {max_bytes:,} that are loaded at most.")


def require_sha256(path: Path, wanted: str | None, key: str) -> None:
    """RecipeError when the recipe's `key` says another sha256 than the file has."""
    if wanted is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise RecipeError(
            f"{path} is not the file that the recipe was made for: its sha256 is {found}, {key} says "
            f"{short(wanted, 64)}. Give that file, or leave {key} out."
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(short(n, 40) for n in names[:20])
    return f"{shown} and {len(names) - 20:,} more" if len(names) > 20 else shown or "none"


def _reason(error: Exception) -> str:
    """The error's text on one line and short: it may quote the file."""
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return short(" ".join(text.split()), 200) or type(error).__name__
