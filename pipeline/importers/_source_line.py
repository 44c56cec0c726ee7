"""Where in the user's own code a call of a traced model stands, for messages."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections.abc import Iterable

import torch
from torch.fx import Node

_NOT_THE_USERS = (os.path.dirname(torch.__file__), os.path.dirname(__file__), sysconfig.get_path("stdlib"), "<")
_FRAME = re.compile(r'File "(.+?)", line (\d+), in .*\n +(.*)')
_MAX_CODE = 100
Frame = tuple[str, int, str]
"""File, line number, code; the innermost comes last in a list of them."""


def path_of(node: Node) -> str:
    """The module whose forward makes this call, as `encoder.lstm`; "" for the model itself."""
    return _module(node)[0]


def place_of(node: Node) -> str:
    """How messages name that module: "`encoder.attn` (MultiheadAttention)". For a class that is not torch's own with the
    line: "the model (Net), line `x = x.roll(1)` (net.py:12)"."""
    path, kind = _module(node)
    module = f"`{path}`" if path else "the model"
    if kind.startswith("torch."):
        return f"{module} ({kind.rpartition('.')[2]})"
    frames = [(file, int(number), code) for file, number, code in _FRAME.findall(node.meta.get("stack_trace") or "")]
    line = _own_line(frames)
    return module + (f" ({kind.rpartition('.')[2]})" if kind else "") + (f", line {line}" if line else "")


def line_of_error(error: BaseException) -> str:
    """ " at line `if x.max() > 0:` (net.py:12)" of the model's forward, which raised `error`; "" when it was not reached."""
    frames = [(f.filename, f.lineno or 0, f.line or "") for f in traceback.extract_tb(error.__traceback__)]
    return f" at line {line}" if (line := _own_line(frames)) else ""


def _module(node: Node) -> tuple[str, str]:
    """(path, qualified class)."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path, kind = (str(stack[-1][0]), stack[-1][1]) if stack else ("", "")
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return "" if path.startswith("_empty_nn_module_stack") else path.removeprefix("L['self']."), name


def _own_line(frames: Iterable[Frame]) -> str:
    """The innermost line that is neither torch's nor Python's; "" when there is none."""
    own = [f for f in frames if not f[0].startswith(_NOT_THE_USERS)]
    if not own:
        return ""
    file, number, code = own[-1]
    return f"`{code if len(code) <= _MAX_CODE else code[: _MAX_CODE - 3] + '...'}` ({os.path.basename(file)}:{number})"
