"""The operations by name. Each takes the loaded models, by name, and a request, and gives the answer's fields."""

from __future__ import annotations

import errno
from typing import Any

from computer import info, memory, state
from environment import venv
from fields import Refused
from models import Model, feed, load, replay, unload
from power import power
from timing import profile, throughput, time, warmup
from wire import failure

OPERATIONS = {
    operation.__name__: operation
    for operation in (feed, info, load, memory, power, profile, replay, state, throughput, time, unload, venv, warmup)
}


def answer(models: dict[str, Model], request: dict[str, Any]) -> dict[str, Any]:
    """What is sent back, whatever happens. `request` has an integer `id` and a string `op`."""
    number, op = request["id"], request["op"]
    if op not in OPERATIONS:
        return failure(number, "BadRequest", f"unknown operation {op[:80]!r}; known: {', '.join(OPERATIONS)}")
    try:
        return {"id": number, "ok": True, **OPERATIONS[op](models, request)}
    except Refused as e:
        return failure(number, e.name, str(e))
    except Exception as e:  # an engine's own, of any type: the caller is told, and this process goes on
        full = isinstance(e, OSError) and e.errno == errno.ENOSPC
        return failure(number, "DiskFull" if full else type(e).__name__, str(e) or repr(e))
