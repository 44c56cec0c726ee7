"""Every error a user can meet. The message says what, where, and what would work; the type decides the exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PipelineError(Exception):
    """A failure with a message made for the user; never shown as a traceback. Exit code 1 unless a subclass says 2."""

    exit_code = 1


class RecipeError(PipelineError):
    """The recipe, the command line, or a file they name is wrong. The user can mend it: exit code 2."""

    exit_code = 2


class TargetError(PipelineError):
    """A target file is wrong or unknown, or the model does not fit the target. Exit code 2."""

    exit_code = 2


class GraphError(PipelineError):
    """A model can not be expressed as an int8 graph; names the layer, tensor or node. Exit code 2."""

    exit_code = 2


class BuildError(PipelineError):
    """A tool is missing or a build failed."""


class DeviceError(PipelineError):
    """A board did not answer, answered as another board, or answered wrongly."""


class TrackError(PipelineError):
    """The MLflow store can not be reached, opened or written."""


class MismatchError(PipelineError):
    """Two executions that must be equal byte for byte are not; names the first differing layer."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: handled as Ctrl-C is (everything is released, the run is marked FAILED), with exit code 143."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`" Did you mean 'keep'?"` for a near miss, else an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.55)
    return f" Did you mean {near[0]!r}?" if near else ""


def first_line(error: BaseException) -> str:
    """What another library's exception says: its first line with text, at most 400 characters, without the full stop."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:400].rstrip(".")
