"""Where in the user's own code a call of a traced model stands, for messages."""

from __future__ import annotations

import os
from collections.abc import Iterable

from torch.fx import Node

from pipeline.host.users_code import Frame, frames_in, frames_of, whose

_MAX_CODE = 100


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
    line = _own_line(frames_in(node.meta.get("stack_trace") or ""))
    return module + (f" ({kind.rpartition('.')[2]})" if kind else "") + (f", line {line}" if line else "")


def line_of_error(error: BaseException) -> str:
    """ " at line `if x.max() > 0:` (net.py:12)" of the model's forward, which raised `error`; "" when it was not reached."""
    return f" at line {line}" if (line := _own_line(frames_of(error))) else ""


def _module(node: Node) -> tuple[str, str]:
    """(path, qualified class)."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path, kind = (str(stack[-1][0]), stack[-1][1]) if stack else ("", "")
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return "" if path.startswith("_empty_nn_module_stack") else path.removeprefix("L['self']."), name


def _own_line(frames: Iterable[Frame]) -> str:
    """The innermost line of the user or an installed package, whose layers may be what counts; "" when there is none."""
    own = [frame for frame in frames if whose(frame[0])]
    if not own:
        return ""
    file, number, code = own[-1]
    return f"`{code if len(code) <= _MAX_CODE else code[: _MAX_CODE - 3] + '...'}` ({os.path.basename(file)}:{number})"
