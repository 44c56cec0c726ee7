"""What `pipeline compile`, `pipeline measure`, `targets` and a run on two targets print, from values at hand."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished import measured
from rich.console import Console

from pipeline import target
from pipeline.artifacts import Firmware
from pipeline.measurement.board import Measurement
from pipeline.replay import Result
from pipeline.report.agreement import compare_targets
from pipeline.report.figures import Report
from pipeline.report.imported import compiled_json, measured_json, print_compiled, print_measured
from pipeline.report.listing import print_target, print_targets
from pipeline.report.table import print_outcome
from pipeline.tasks.classification import Classification


def layer(index: int, kind: str, name: str) -> dict[str, Any]:
    return {"index": index, "kind": kind, "name": name, "constant_bytes": 2370, "output_bytes": 1024, "macs": 147_456}


MANIFEST: dict[str, Any] = {
    "target": {"name": "cortex-m4"},
    "model": {"name": "net", "macs": 294_912, "constant_bytes": 4740},
    "layers": [layer(0, "conv2d", "0"), layer(1, "conv2d", "[red]1"), layer(2, "add", "a" * 120)],
    "arena": {"bytes": 2048, "peak_ops": ["0", "[red]1"]},
    "tflm": {"arena_bytes": 4096},
    "proven": {"vectors": 16, "host_c": 16, "tflm": None},
}


def scored(recall: dict[str, float]) -> dict[str, float]:
    return {"accuracy": 0.5, **{f"recall_{name}": r for name, r in recall.items()}}


@pytest.fixture
def result(tmp_path: Path) -> Result:
    done = measured(tmp_path)
    assert isinstance(done.measurement, Measurement)
    recall = {f"class {i:03d} {'long ' * 14}": i / 100 for i in range(100)} | {"[red]": 1.0}
    scores = {"accuracy": 0.5, **{f"recall_{name}": r for name, r in recall.items()}}
    return Result(
        (done.outputs,),
        done.bit_exact,
        Classification(tuple(recall)),
        scores,
        done.measurement,
        "simulated",
        53.8,
        ("inputs [/x] scaled",),
    )


def printed(show: Any, *what: Any, width: int = 80) -> str:
    out = io.StringIO()
    show(*what, Console(file=out, width=width))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


@pytest.mark.parametrize("width", [80, 120])
def test_a_compiled_models_layers_can_be_told_apart(tmp_path: Path, width: int) -> None:
    firmware = measured(tmp_path).package
    assert isinstance(firmware, Firmware)
    text = printed(print_compiled, firmware, MANIFEST, width=width)
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= width
    rows = [line.split() for line in text.splitlines()]
    assert ["0", "conv2d", "0", "2.31", "KiB", "1", "KiB", "147,456"] in rows
    assert ["1", "conv2d", "[red]1", "2.31", "KiB", "1", "KiB", "147,456"] in rows
    assert "arena peak     at 0 conv2d 0, 1 conv2d [red]1\n" in text
    assert "flash          22.9 KiB (computed), of it the model 9.64 KiB, constants 4.63 KiB\n" in text
    assert "16 random vectors: generated C on the host 16, TFLite Micro not on this machine" in " ".join(text.split())
    assert str(firmware.folder / "arena.svg") in text  # on one line
    assert json.loads(compiled_json(firmware, MANIFEST))["flash_bytes"] == 23456


def test_of_very_many_layers_the_terminal_has_some(tmp_path: Path) -> None:
    many = MANIFEST | {
        "layers": [layer(i, "conv2d", str(i)) for i in range(50)],
        "arena": {"bytes": 2048, "peak_ops": ["49"]},
    }
    text = printed(print_compiled, measured(tmp_path).package, many)
    assert "39 conv2d 39" in text
    assert "... and 10 more layers, in manifest.json" in text
    assert "at 49 conv2d 49" in text


def test_of_many_classes_the_terminal_has_the_worst_and_json_all(result: Result) -> None:
    text = printed(print_measured, result)
    assert "class 000 l…g long long : 0.0 %" in " ".join(text.split())
    assert "; the other 81 are at least as good" in " ".join(text.split())
    assert len(text.splitlines()) < 22
    recall = json.loads(measured_json(result))["accuracy"]["recall"]
    assert len(recall) == 101
    assert f"class 099 {'long ' * 14}" in recall


def test_names_and_notes_are_no_markup(result: Result) -> None:
    assert result.scores is not None
    few = replace(result, scores=scored({"[red]": 1.0, "[/]": 0.0, "new\nline": 0.5}))
    text = printed(print_measured, few, width=120)
    assert "recall         [red]: 100.0 %, [/]: 0.0 %, new\\nline: 50.0 %\n" in text
    assert "inputs [/x] scaled\n" in text


@pytest.mark.parametrize("width", [80, 120])
def test_figures_of_a_measurement_stay_whole(result: Result, width: int) -> None:
    few = replace(result, scores=scored({str(i): 0.97 for i in range(10)}))
    lines = printed(print_measured, few, width=width).splitlines()
    assert max(map(len, lines)) <= width
    for name in range(10):
        assert f"{name}: 97.0 %" in "\n".join(lines)
    for line in lines[1:]:
        assert not line.strip().startswith(("%", "ms", "µJ", "KiB", "vectors", "runs")), line


def test_a_targets_own_words_are_no_markup(tmp_path: Path) -> None:
    board = replace(target.load("cortex-m4"), description="with [red] and [/x]", tested="[bold]never")
    assert "with [red] and [/x]" in printed(print_target, board)
    text = printed(print_targets, [board])
    assert "flash 2 MiB, RAM 256 KiB, reached by qemu" in text
    assert "with [red] and [/x]" in text
    assert "tested: [bold]never" in text


def test_two_targets_say_how_far_they_agree(report: Report) -> None:
    other = replace(report, target=replace(report.target, name="cortex-m7"))
    text = " ".join(printed(print_outcome, [report, other], compare_targets([report, other])).split())
    assert "─ cortex-m4 ─" in text
    assert (
        "targets cortex-m4 and cortex-m7 give the same class for 100.00 % of 360 test images; 100.00 % of all values are "
        "equal, none differs by more than 0 LSB"
    ) in text
    far = replace(other, measured=replace(other.measured, outputs=np.full((360, 160), 3, np.int8)))
    (pair,) = compare_targets([report, far])
    assert (pair.vectors, pair.equal_values, pair.max_lsb) == (360, 0.0, 3)
