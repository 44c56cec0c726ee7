"""What networks and kernels cost, to the instruction: a change that makes them slower, faster, longer or shorter is seen."""

from __future__ import annotations

import math
from pathlib import Path

import counted
import pytest
from count_table import Cost, Key, Table, differences
from network_graphs import network
from subjects import CORES, costs, keys, owner

from pipeline import target as targets
from pipeline.data import models
from pipeline.ir import Graph
from pipeline.locations import data_dir
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected

RECORD = "`make counts` records what is counted now; its diff goes with the change and its reason."
IMAGES = {  # (C, H, W) and classes
    "digits_cnn": ((1, 8, 8), 10),
    "resnet8": ((3, 32, 32), 10),
    "ds_cnn": ((1, 49, 10), 12),
    "mobilenet_v1_025": ((3, 96, 96), 2),
    "fc_autoencoder": ((1, 1, 640), 0),
    "mlp": ((10, 1, 1), 1),
}


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.read()


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.parametrize("core", CORES)
def test_costs_are_as_recorded(core: str, table: Table, tmp_path: Path) -> None:
    require_compiler(table)
    found = differences(table.on(core), costs(core, tmp_path))
    assert not found, "\n".join(["", *found, RECORD])


def require_compiler(table: Table) -> None:
    if (ours := counted.compiler()) != table.compiler:
        pytest.skip(f"counts.toml is of {table.compiler!r}, this machine has {ours!r}; {RECORD}")


def test_another_compiler_skips_by_name(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "compiler", lambda: "arm-none-eabi-gcc 99.1.0")
    with pytest.raises(
        pytest.skip.Exception, match=r"of 'arm-none-eabi-gcc .*machine has 'arm-none-eabi-gcc 99\.1\.0'; `make counts`"
    ):
        require_compiler(table)


def test_the_table_has_exactly_the_rows_that_are_counted(table: Table) -> None:
    assert list(table.rows) == [key for core in CORES for key in keys(core)], "`make counts` rewrites the table"


def test_every_kernel_header_has_a_row(table: Table) -> None:
    headers = {path.stem for path in (data_dir("firmware_templates") / "kernels").glob("*_s8*.h")}
    for core in ("cortex-m4", "cortex-m3"):
        isa = targets.load(core).cpu.isa
        usable = {name for name in headers if "__" not in name or name.split("__")[1] in isa}
        missing = usable - {key.kernel for key in table.on(core) if "/" in key.subject}
        assert not missing, f"{sorted(missing)} are not counted: name cases in tests/counts/kernel_cases.py, `make counts`"


def test_every_built_in_network_has_a_row(table: Table) -> None:
    missing = set(models.names()) - {key.subject for key in table.on("cortex-m4")}
    assert not missing, f"{sorted(missing)} are not counted: build them in tests/counts/network_graphs.py, `make counts`"


@pytest.mark.parametrize("name", models.names())
def test_a_counted_network_is_the_built_in_one(name: str) -> None:
    """The same convolutions and dense layers, by the shapes of weights and the multiply-accumulates."""
    assert sorted(layers(network(name))) == sorted(layers_of_module(name))


def layers(graph: Graph) -> list[tuple[tuple[int, ...], int]]:
    with_weights = (op for op in graph.ops if isinstance(op, Conv2d | DepthwiseConv2d | FullyConnected))
    return [(graph[op.inputs[1]].shape, op.macs(graph)) for op in with_weights]


def layers_of_module(name: str) -> list[tuple[tuple[int, ...], int]]:
    import torch
    from torch import nn

    found: list[tuple[tuple[int, ...], int]] = []

    def note(layer: nn.Module, _inputs: object, y: torch.Tensor) -> None:
        w = tuple(layer.weight.shape)
        if isinstance(layer, nn.Linear):
            found.append((w, math.prod(w)))
            return
        depthwise = layer.groups > 1
        stored = (1, *w[2:], w[0]) if depthwise else (w[0], *w[2:], w[1])
        found.append((stored, math.prod(w) * math.prod(y.shape[2:])))

    build = models.find(name)
    assert build is not None
    shape, classes = IMAGES[name]
    module = build(shape, classes).eval()
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(note)
    with torch.no_grad():
        module(torch.zeros(1, *shape))
    return found


ROW = Key("digits_cnn", "cortex-m4", "conv2d_s8")
COMPARED = {
    "the_same": (Cost(2000, 400), []),
    "within_the_tolerance": (Cost(2010, 398), []),
    "slower": (
        Cost(4000, 400),
        ["digits_cnn on cortex-m4, conv2d_s8: 4,000 instructions, recorded are 2,000, 2.000 times as many"],
    ),
    "just_slower": (
        Cost(2011, 400),
        ["digits_cnn on cortex-m4, conv2d_s8: 2,011 instructions, recorded are 2,000, 1.006 times as many"],
    ),
    "faster": (
        Cost(1500, 400),
        ["digits_cnn on cortex-m4, conv2d_s8: 1,500 instructions, recorded are 2,000, 0.750 times as many"],
    ),
    "longer": (
        Cost(2000, 500),
        ["digits_cnn on cortex-m4, conv2d_s8: 500 bytes of code, recorded are 400, 1.250 times as many"],
    ),
}


@pytest.mark.parametrize("name", COMPARED)
def test_what_a_difference_says(name: str) -> None:
    now, said = COMPARED[name]
    assert differences({ROW: Cost(2000, 400)}, {ROW: now}) == said


def test_rows_that_one_side_lacks() -> None:
    other = Key("add/plain", "cortex-m3", "add_s8")
    assert differences({ROW: Cost(1, 1)}, {other: Cost(1, 1)}) == [
        "add/plain on cortex-m3, add_s8: no row in counts.toml",
        "digits_cnn on cortex-m4, conv2d_s8: a row in counts.toml for nothing that is counted",
    ]


def test_a_function_that_is_no_longer_inlined_is_a_difference() -> None:
    assert differences({ROW: Cost(2000, 0)}, {ROW: Cost(2000, 64)}) == [
        "digits_cnn on cortex-m4, conv2d_s8: 64 bytes of code, recorded are 0"
    ]


def test_the_table_is_read_as_it_was_written(table: Table, tmp_path: Path) -> None:
    table.write(tmp_path / "counts.toml")
    assert (tmp_path / "counts.toml").read_bytes() == (Path(__file__).parent / "counts.toml").read_bytes()


def test_a_function_is_the_kernels_with_the_longest_name() -> None:
    kernels = ["conv2d_s8", "conv2d_s8_1x1__dsp"]
    owners = {"conv2d_s8_add.part.0": kernels[0], "conv2d_s8_1x1__dsp.part.0": kernels[1], "model_invoke": ""}
    assert {name: owner(name, kernels) for name in owners} == owners
