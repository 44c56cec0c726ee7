"""Each operator's case table, written as a .tflite file and read back: nothing is lost on the way."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.codegen.to_tflite import to_tflite
from pipeline.importers.tflite.importer import load_tflite
from pipeline.ops import all_ops

OPS = Path(__file__).parent.parent / "ops"
sys.path.insert(0, str(OPS))  # the case tables import their vocabulary from there
from case import vectors  # noqa: E402


def cases() -> dict[str, Any]:
    """Those with a .tflite form; float and uint8 edges are stripped off by the importer, and are tested with real files."""
    found = {}
    for path in sorted((OPS / "cases").glob("*.py")):
        for name, case in importlib.import_module(f"cases.{path.stem}").CASES.items():
            io = (*case.graph.inputs, *case.graph.outputs)
            if not case.not_in_tflite and all(case.graph[n].dtype == "int8" for n in io):
                found[f"{path.stem}-{name}"] = case.graph
    return found


CASES = cases()


def test_every_operator_is_among_them() -> None:
    assert {name.split("-")[0] for name in CASES} == set(all_ops()) - {"dequantize"}


@pytest.mark.parametrize("name", CASES)
def test_round_trip(name: str) -> None:
    graph = CASES[name]
    again = load_tflite(to_tflite(graph), graph.name)
    x = vectors(graph)
    for y, expected in zip(again.run(*x), graph.run(*x), strict=True):
        np.testing.assert_array_equal(y, expected)
    if len(graph.ops[0].tflite(graph)) == 1:  # what TFLite can not say in one comes back as several that compute the same
        assert [type(op) for op in again.ops] == [type(op) for op in graph.ops]
