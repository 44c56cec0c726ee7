"""Each operator of the case tables, written as JSON and arrays and read back: the graph of the same sha256."""

from __future__ import annotations

from pathlib import Path

import pytest
from case import Case
from test_ops import ROWS

from pipeline.saved.graph import load_graph, save_graph


@pytest.mark.parametrize("case", ROWS)
def test_it_comes_back_equal(case: Case, tmp_path: Path) -> None:
    save_graph(case.graph, tmp_path)
    back = load_graph(tmp_path)
    assert back.sha256() == case.graph.sha256()
    assert list(back.tensors) == list(case.graph.tensors)
