"""A runner's stand-in: `python stand_in.py OP CHANGE` speaks the protocol rightly, but for its answers to OP, which the
Python statement CHANGE alters (`answer["cores"] = -3`). It computes nothing, so that a whole conversation takes a moment."""

from __future__ import annotations

import base64
import json
import math
import sys
import zlib
from typing import Any

OPTIONS = {
    "engine": "onnxruntime", "threads": 1, "inter_threads": 1, "optimization": "all", "spinning": True, "affinity": [0],
}  # fmt: skip
RAILS = "VDD_CORE_A current(7)=1.00000000A\nVDD_CORE_V volt(15)=0.80000000V"


def array(dtype: str, shape: list[int], value: bytes) -> dict[str, Any]:
    raw = value * math.prod(shape)
    return {"dtype": dtype, "shape": shape, "data": base64.b64encode(raw).decode(), "crc32": zlib.crc32(raw)}


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    op = request["op"]
    if op == "info":
        return {
            "protocol": 1, "model": "Raspberry Pi 4 Model B Rev 1.5", "os": "Debian", "kernel": "6.6", "machine": "aarch64",
            "bits": 64, "python": "3.11.2", "executable": "/usr/bin/python3", "libc": "glibc-2.36",
            "engines": {"onnxruntime": "1.18.1"}, "cores": 4, "ram_bytes": 4 * 2**30, "disk_free_bytes": 10**9, "pmic": True,
            "venv": True,
        }  # fmt: skip
    if op == "state":
        return {
            "temperature_c": 41.5, "governors": ["ondemand"], "frequencies_khz": [1_800_000] * 4, "throttled": 0,
            "others_cores": 0.01, "load_average": 0.1, "wall": 1.7e9,
        }  # fmt: skip
    if op == "load":
        return {"options": OPTIONS, "engine_version": "1.18.1", "import_ns": 10**8, "load_ns": 10**6, "inputs": []}
    if op == "feed":
        return {"first_ns": 10**6, "outputs": [array("uint8", [1, 10], b"\0")]}
    if op == "replay":
        return {"outputs": [array("uint8", [request["inputs"][0]["shape"][0], 1, 10], b"\0")]}
    if op == "warmup":
        return {"runs": 30, "seconds": 0.1, "steady": True}
    if op == "memory":
        return {"peak_rss_bytes": 10**8}
    if op == "profile":
        return {"nodes": [{"node": "conv", "operator": "QLinearConv", "us": 12.5}]}
    if op == "throughput":
        return {"per_second": 1000.0, "workers": 4}
    if op == "time":
        elapsed = dict.fromkeys(("monotonic_ns", "raw_ns", "boot_ns", "wall_ns"), 10**6)
        ticks = {name: array("int64", [100], (10**5).to_bytes(8, "little")) for name in request["names"]}
        return {"ticks_ns": ticks, "reached": True, "window": {"elapsed": elapsed, "others_cores": 0.01}}
    assert op == "power", op
    return {"samples": [{"ns": i, "text": RAILS} for i in range(10)], "runs": 50, "elapsed_ns": 10**7}


def main(op: str, change: str) -> None:
    def say(answer: dict[str, Any], asked: str) -> None:
        if asked == op:
            exec(change, {"answer": answer})
        print(json.dumps(answer), flush=True)

    say({"id": 0, "ok": True, "protocol": 1, "python": "3.11.2", "pid": 1}, "start")
    for line in sys.stdin:
        request = json.loads(line)
        said = {} if request["op"] == "ping" else answer_to(request)
        say({"id": request["id"], "ok": True, **said}, request["op"])


if __name__ == "__main__":
    main(*sys.argv[1:])
