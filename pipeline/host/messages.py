"""How a command ends: errors as people read them, exit codes as programs do."""

from __future__ import annotations

import errno
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from pipeline.errors import PipelineError, Terminated
from pipeline.host.signals import _asked, end_on_signal

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ADVICE = {
    errno.ENOSPC: "Make room there, or give another place with --out.",
    errno.EDQUOT: "Make room there, or give another place with --out.",
    errno.EACCES: "Give a place you may write to, or mend its permissions.",
    errno.EROFS: "Give a place you may write to.",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n 4096`).",
    errno.ENOMEM: "Close other programs, or give the machine more memory.",
}


@contextmanager
def reported() -> Iterator[None]:
    """Around a command. Exit code 2 for what the user can mend in the input, 1 for failures, 130 for Ctrl-C, 143 for
    SIGTERM, and one paragraph on standard error. A traceback goes to a file, never to the terminal."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        heard = [s for s in _ENDING if signal.getsignal(s) is not signal.SIG_IGN]  # nohup's SIGHUP stays ignored
        before = {s: signal.signal(s, end_on_signal) for s in heard}
    _asked.clear()
    try:
        yield
    except PipelineError as e:
        _complain(" ".join(("Error:", str(e), *_notes(e))))
        raise typer.Exit(e.exit_code) from None
    except KeyboardInterrupt as e:
        ended = isinstance(e, Terminated)
        _complain(" ".join(("Terminated." if ended else "Interrupted.", *_notes(e))))
        raise typer.Exit(143 if ended else 130) from None
    except ModuleNotFoundError as e:
        _complain(
            f"Error: the Python package {e.name!r} is not installed. Reinstall tinyml-pipeline; `pipeline doctor` lists all."
        )
        raise typer.Exit(1) from None
    except (typer.Exit, BrokenPipeError):
        raise
    except SystemExit as e:
        if isinstance(e.__context__, BrokenPipeError):  # rich's way to end when nobody reads on
            raise
        from pipeline.host.users_code import failure

        _complain(" ".join((f"Error: the model's code ended the program: {failure(e)}.", *_notes(e))))
        raise typer.Exit(2) from None
    except OSError as e:
        where = f"{e.filename}: " if e.filename else ""
        _complain(" ".join((f"Error: {where}{e.strerror or e}.", *_notes(e), _ADVICE.get(e.errno or 0) or _details())))
        raise typer.Exit(1) from None
    except Exception as e:
        what = f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"
        _complain(" ".join((f"Error: an unexpected {what}.", *_notes(e), _details())))
        raise typer.Exit(1) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _asked.clear()  # what this command was asked is no business of the process's next one


def _notes(error: BaseException) -> tuple[str, ...]:
    """What was said about it on its way here: where the run's folder is."""
    return tuple(getattr(error, "__notes__", ()))


def _complain(message: str) -> None:
    """One paragraph on standard error, broken between words on a terminal and not at all elsewhere."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    text = Text(message)
    text.highlight_regex(r"^Error:", "bold red")
    console.print(text, soft_wrap=not console.is_terminal)


def _details() -> str:
    """Where the traceback was put; "" where it could not be, as on a full disk."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    try:
        with tempfile.NamedTemporaryFile("w", prefix=f"pipeline-error-{stamp}-", suffix=".log", delete=False) as file:
            file.write(f"{sys.argv}\n{traceback.format_exc()}")
    except OSError:
        return ""
    return f"The details are in {file.name}."
