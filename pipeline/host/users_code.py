"""Running code that the user wrote: where its modules are found, and what is said when it fails."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pipeline.display import short
from pipeline.errors import PipelineError, RecipeError, did_you_mean
from pipeline.locations import PACKAGE

ANY_ERROR: tuple[type[BaseException], ...] = (Exception, SystemExit)
"""What a user's code may raise: anything. SystemExit: a script not written to be imported, or sys.exit in a forward."""

_PYTHON = Path(sysconfig.get_path("stdlib"))
_INSTALLED = ("site-packages", "dist-packages")
_TORCH = ("torch", "torchao", "torch_pruning")

_REFERENCE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_FRAME = re.compile(r'File "(.+?)", line (\d+), in .*\n +(.*)')

Frame = tuple[str, int, str]
"""File, line number, code; the innermost comes last in a list of them."""


@contextmanager
def wrap_user_errors(what: str) -> Iterator[None]:
    """Whatever the user's code raises inside becomes a RecipeError, "<what>: <failure>."; this package's own errors pass."""
    try:
        yield
    except PipelineError:
        raise
    except ANY_ERROR as e:
        raise RecipeError(f"{what}: {failure(e)}.") from e


def failure(error: BaseException) -> str:
    """The error's kind and first line, and the place in the user's code that led to it."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)  # else with the file's name, without its folder
    said = next((line.strip() for line in text.splitlines() if line.strip()), "").removesuffix(".")
    return f"{type(error).__name__}{': ' if said else ''}{short(said, 300)}{place(error)}"


def place(error: BaseException) -> str:
    """` (/project/networks.py, line 12)`: the innermost line of the user's own code; "" when it had no part in it."""
    if isinstance(error, SyntaxError):  # of a file that never ran
        return f" ({error.filename}, line {error.lineno})"
    return place_in(frames_of(error))


def place_in(frames: Sequence[Frame]) -> str:
    """The same of a traceback's frames. Lines in the user's files go before those in installed packages."""
    ranked = [(whose(file), i, f" ({file}, line {number})") for i, (file, number, _) in enumerate(frames)]
    rank, _, place = max(ranked, default=(0, 0, ""))
    return place if rank else ""


def frames_of(error: BaseException) -> list[Frame]:
    return [(f.filename, f.lineno or 0, f.line or "") for f in traceback.extract_tb(error.__traceback__)]


def frames_in(text: str) -> list[Frame]:
    """Of a traceback that torch wrote down."""
    return [(file, int(number), code) for file, number, code in _FRAME.findall(text)]


def whose(file: str) -> int:
    """2 for the user's own files, 1 for installed packages (the user's may be one), 0 for Python, torch and this package."""
    path = Path(file)
    if any(name in path.parts for name in _INSTALLED):
        return 0 if any(name in path.parts for name in _TORCH) else 1
    return 0 if file.startswith("<") or path.is_relative_to(PACKAGE) or path.is_relative_to(_PYTHON) else 2


def is_reference(text: str) -> bool:
    """Whether it names a function or class of the user's, as "package.module:Name"."""
    return _REFERENCE.fullmatch(text) is not None


def users_object(what: str, name: str, folders: Sequence[Path], kind: Literal["function", "class"]) -> Any:
    """What `name`, "package.module:Name", names; the module is looked up in `folders` first. RecipeError, beginning with
    `what`, when it can not be imported or has no such thing."""
    module_name, _, attribute = name.partition(":")
    folders = tuple(dict.fromkeys(folders))
    try:
        module = import_from(module_name, folders)
    except ANY_ERROR as e:
        missing = e.name if isinstance(e, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            raise RecipeError(
                f"{what} {name!r}: no module {missing!r}; looked in {', '.join(map(str, folders))} and the installed "
                "packages."
            ) from None
        if missing:  # the user's module exists, an import in it fails
            raise RecipeError(f"{what} {name!r}: {module_name} needs {missing!r}, which is not installed{place(e)}.") from e
        raise RecipeError(f"{what} {name!r}: importing {module_name} failed: {failure(e)}.") from e
    found = getattr(module, attribute, None)
    if not callable(found):
        wanted = inspect.isfunction if kind == "function" else inspect.isclass
        public = [n for n, v in vars(module).items() if wanted(v) and v.__module__ == module.__name__]
        where = getattr(module, "__file__", None) or module_name  # Python's own may be built in
        raise RecipeError(
            f"{what} {name!r}: {where} has no {kind} {attribute!r}.{did_you_mean(attribute, public)} "
            f"It has: {', '.join(public) or 'none'}."
        )
    return found


def import_from(name: str, folders: Sequence[Path]) -> ModuleType:
    """The module, looked up in `folders` first. One of the same name that was loaded from another of the user's folders is
    forgotten: two recipes of one process may each have their `model.py`."""
    paths = [str(folder) for folder in folders]
    with _on_path(paths):
        top = name.partition(".")[0]
        found, loaded = PathFinder.find_spec(top, paths), sys.modules.get(top)
        file = getattr(loaded, "__file__", None)
        if found and file and found.origin != file and whose(file) == 2:
            for old in [n for n in sys.modules if n == top or n.startswith(f"{top}.")]:
                del sys.modules[old]
        return importlib.import_module(name)


@contextmanager
def _on_path(folders: Sequence[str]) -> Iterator[None]:
    sys.path[:0] = folders
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in folders:
            with suppress(ValueError):  # the module's own code took it off
                sys.path.remove(folder)
