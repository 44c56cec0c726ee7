#!/usr/bin/env python3
"""Runs one or more models on a Linux computer and answers requests: one JSON object a line, on stdin and stdout.

    python3 runner              # this folder, or all of it in one zip file

Needs Python 3.8, numpy, and onnxruntime, ai_edge_litert or tflite_runtime; `info`, `state` and `venv` need Python alone.

Request   {"id": 1, "op": "load", ...}          the operations are in operations.py
Answer    {"id": 1, "ok": true, ...}            or {"id": 1, "ok": false, "error": {"name": "...", "message": "..."}}

`ping` is answered at any time, by another thread. The process ends when stdin ends, or when nothing came for a minute:
whoever started it is gone. Arrays travel as {"dtype", "shape", "data" (base64), "crc32" (of the bytes)}.
"""

from __future__ import annotations

import os
import platform

from models import Model
from operations import answer
from wire import PROTOCOL, Wire


def main() -> None:
    wire = Wire()
    models: dict[str, Model] = {}
    wire.send({"id": 0, "ok": True, "protocol": PROTOCOL, "python": platform.python_version(), "pid": os.getpid()})
    wire.listen()
    while True:
        request = wire.requests.get()
        if request["op"] == "quit":
            wire.send({"id": request["id"], "ok": True})
            os._exit(0)  # the other threads still hold stdin, which a proper shutdown would wait for
        wire.send(answer(models, request))


if __name__ == "__main__":
    main()
