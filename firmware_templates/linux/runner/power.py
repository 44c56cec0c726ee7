"""A Raspberry Pi 5's power chip while nothing or a model runs: `power`."""

from __future__ import annotations

import threading
import time
from typing import Any

from fields import field
from models import Model, named
from system import output_of
from timing import MAX_SECONDS

RAILS = ("vcgencmd", "pmic_read_adc")
MAX_SAMPLES = 3000


def power(models: dict[str, Model], request: dict[str, Any]) -> dict[str, Any]:
    """What the power rails read every `interval` seconds, idle, or while a model runs again and again."""
    model = named(models, request) if request.get("name") else None
    seconds = field(request, "seconds", float, 5.0, 0.1, MAX_SECONDS)
    pause = field(request, "interval", float, 0.1, 0.02, 5.0)
    samples: list[dict[str, Any]] = []
    stop = threading.Event()

    def sample() -> None:
        while not stop.is_set() and len(samples) < MAX_SAMPLES:
            text = output_of(*RAILS)
            if text:
                samples.append({"ns": time.monotonic_ns(), "text": text})
            stop.wait(pause)

    thread = threading.Thread(target=sample, daemon=True)
    runs, start = 0, time.monotonic_ns()
    thread.start()
    while time.monotonic_ns() - start < seconds * 1e9:
        if model is None:
            time.sleep(0.05)
        else:
            model.once()
            runs += 1
    elapsed = time.monotonic_ns() - start
    stop.set()
    thread.join()
    return {"samples": samples, "runs": runs, "elapsed_ns": elapsed}
