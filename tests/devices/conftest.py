"""Firmware for the device tests, built once a session: a real network, and a probe that misbehaves on request."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from example_graphs import small_cnn, two_inputs
from probe_firmware import build_probe

from pipeline import target
from pipeline.artifacts import Firmware, QuantizedModel
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.firmware.cortex_m import write_firmware
from pipeline.ir import Graph
from pipeline.preprocess import Normalization, Preprocess, byte_tables

GRAPHS = {"small_cnn": small_cnn, "two_inputs": two_inputs}


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load(DataRecipe(), seed=1)


def raw_bytes(graph: Graph) -> Preprocess | None:
    """The one-input network takes raw bytes, 0 to 255; the other int8 as it is."""
    if len(graph.inputs) > 1:
        return None
    x = graph[graph.inputs[0]].quant
    assert x is not None
    return byte_tables(Normalization(std=(16.0,)), "uint8", x, channels=1)


@pytest.fixture(scope="session")
def firmware(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Callable[[str, str], Firmware]:
    """firmware(target name, graph name)."""
    built: dict[tuple[str, str], Firmware] = {}

    def make(board: str = "cortex-m4", graph_name: str = "small_cnn") -> Firmware:
        key = (board, graph_name)
        if key not in built:
            graph = GRAPHS[graph_name]()
            folder = tmp_path_factory.mktemp("firmware") / graph_name
            built[key] = write_firmware(QuantizedModel(graph, digits, raw_bytes(graph)), target.load(board), folder)
        return built[key]

    return make


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Callable[[str], Firmware]:
    """probe(target name): the firmware around tests/devices/probe/probe.c, whose first input byte says what goes wrong."""
    built: dict[str, Firmware] = {}

    def make(board: str = "cortex-m4") -> Firmware:
        if board not in built:
            built[board] = build_probe(target.load(board), tmp_path_factory.mktemp("probe"), digits)
        return built[board]

    return make
