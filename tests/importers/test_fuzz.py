"""Mutated model files, in a process of its own so that its memory is known: nothing but a GraphError or a good graph."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SECONDS, MEGABYTES = 2.0, 500  # for the worst file


def run(format_: str, count: int, seed: int, timeout_s: int) -> None:
    command = [sys.executable, "-m", "tests.importers.fuzz", format_, str(count), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result.get("crashed", 0) == 0, done.stderr[-3000:]
    assert result["slowest_s"] < SECONDS
    assert result["peak_mb"] < MEGABYTES
    # The mutations reach past the first check, and some leave a file that still makes sense.
    assert result["refused"] > count / 2
    assert result["valid"] > count / 100


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_mutated_files(format_: str) -> None:
    run(format_, 500, seed=1, timeout_s=60)


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_many_mutated_files(format_: str) -> None:
    run(format_, 20_000, seed=2, timeout_s=600)
