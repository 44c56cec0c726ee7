"""Requests from stdin, answers to stdout; pings are answered and silence is noticed beside the work."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from typing import Any

PROTOCOL = 1
SILENCE_S = 60.0
MAX_LINE = 32 * 2**20


class Wire:
    """`requests` holds what came and is well-formed, pings apart: {"id": int, "op": str, ...}."""

    def __init__(self) -> None:
        self.requests: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=64)
        # Libraries that print must not break the protocol: what they take for stdout becomes stderr.
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._heard = time.monotonic()

    def listen(self) -> None:
        """Start the threads that read and that notice silence."""
        for work in (self._read, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def send(self, answer: dict[str, Any]) -> None:
        line = json.dumps(answer, allow_nan=False).encode("ascii") + b"\n"
        try:
            with self._lock:
                self._out.write(line)
                self._out.flush()
        except OSError:
            os._exit(0)  # nobody listens

    def _read(self) -> None:
        """Lines into requests, until stdin ends; then the process goes, in the middle of its work if need be."""
        source = sys.stdin.buffer
        while True:
            line = source.readline(MAX_LINE + 1)
            self._heard = time.monotonic()
            if not line.endswith(b"\n"):
                if len(line) <= MAX_LINE:
                    os._exit(0)
                while not line.endswith(b"\n"):
                    line = source.readline(MAX_LINE)
                    if not line:
                        os._exit(0)
                self.send(failure(None, "TooLarge", f"a request of more than {MAX_LINE} bytes"))
                continue
            try:
                request = json.loads(line)
                number = request["id"]
                if type(number) is not int or type(request["op"]) is not str:
                    raise TypeError
            except (ValueError, TypeError, KeyError, RecursionError):
                self.send(failure(None, "BadRequest", "a request is a JSON object with an integer id and a string op"))
                continue
            if request["op"] == "ping":
                self.send({"id": number, "ok": True})
            else:
                self.requests.put(request)

    def _watch(self) -> None:
        while time.monotonic() - self._heard < SILENCE_S:
            time.sleep(1)
        os._exit(0)


def failure(number: int | None, name: str, message: str) -> dict[str, Any]:
    return {"id": number, "ok": False, "error": {"name": name, "message": message[:2000]}}
