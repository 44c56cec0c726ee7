"""Layers of random shapes and numbers by every variant that can compute them: on this machine under sanitizers and on an
emulated Cortex-M4, byte for byte the reference's answers. A drawing is one graph, built and run once each way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board import run_on_board
from case import Case, merged, vectors
from cases.add import add
from cases.conv2d import conv
from cases.depthwise_conv2d import depthwise
from cases.fully_connected import dense
from example_target import host_c

from pipeline.errors import GraphError
from pipeline.lowering.lower import Layer, Lowered, lowered_with

LAYERS = 50  # of one drawing
Draw = np.random.Generator


def _numbers(rng: Draw) -> dict[str, object]:
    """Zero points, activation and scales, as often at an end as in between."""
    low_relu = rng.random() < 0.5
    return {
        "zero": int(rng.choice([-128, 127, rng.integers(-128, 128)])),
        "y_zero": -128 if low_relu else int(rng.integers(-128, 128)),
        "activation": "relu" if low_relu else str(rng.choice(["none", "relu"])),
        "reach": int(rng.choice([0, 3000])),
        "per_channel": bool(rng.integers(2)),
    }


def _window(rng: Draw) -> dict[str, object]:
    pads = tuple(int(p) for p in rng.integers(0, 3, 4))
    return {"same": True} if rng.integers(2) else {"pads": pads}


def _image(rng: Draw, channels: int) -> tuple[int, int, int]:
    return (int(rng.integers(3, 12)), int(rng.integers(3, 12)), channels)


def random_conv2d(rng: Draw) -> Case:
    side = int(rng.choice([1, 3, 3, 3, 2, 5]))
    stride = int(rng.choice([1, 1, 1, 2]))
    x_c, y_c = int(rng.integers(1, 40)), int(rng.integers(1, 12))
    where = {"pads": (0, 0, 0, 0)} if side == 1 else _window(rng)
    return conv(_image(rng, x_c), (y_c, side, side, x_c), stride=(stride, stride), **where, **_numbers(rng))


def random_depthwise_conv2d(rng: Draw) -> Case:
    side, stride = int(rng.choice([3, 3, 5, 2])), int(rng.integers(1, 3))
    return depthwise(
        _image(rng, int(rng.integers(1, 20))), (side, side), stride=(stride, stride), **_window(rng), **_numbers(rng)
    )


def random_fully_connected(rng: Draw) -> Case:
    inputs, outputs = int(rng.integers(1, 90)), int(rng.integers(1, 20))
    return dense((1, inputs), (outputs, inputs), **_numbers(rng))


def random_add(rng: Draw) -> Case:
    shape = (1, *(int(n) for n in rng.integers(1, 9, 3)))
    scales, zeros = rng.uniform(0.01, 0.2, 3), rng.integers(-128, 128, 3)
    activation = str(rng.choice(["none", "relu"]))
    return add(shape, scales=tuple(map(float, scales)), zeros=tuple(map(int, zeros)), activation=activation)


RANDOM: dict[str, Callable[[Draw], Case]] = {
    "add": random_add,
    "conv2d": random_conv2d,
    "depthwise_conv2d": random_depthwise_conv2d,
    "fully_connected": random_fully_connected,
}


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.parametrize("op", sorted(RANDOM))
def test_random_layers(op: str, tmp_path: Path) -> None:
    _compare(op, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 42))
@pytest.mark.parametrize("op", sorted(RANDOM))
def test_many_random_layers(op: str, seed: int, tmp_path: Path) -> None:
    _compare(op, seed, tmp_path)


def _compare(op: str, seed: int, folder: Path) -> None:
    rng = np.random.default_rng(seed)
    rows: dict[str, Case] = {}
    while len(rows) < LAYERS:
        try:
            row = RANDOM[op](rng)
            row.graph.checked()
        except GraphError:  # a window larger than its padded image, a bias out of reach
            continue
        rows[f"{len(rows)}"] = row
    lowered, inputs = _every_way(rows)
    with host_c(lowered) as host:
        on_host = host.run(*inputs)
    on_board = run_on_board(lowered, inputs, folder)
    expected = lowered.graph.run(*inputs)
    for name, right, here, there in zip(lowered.graph.outputs, expected, on_host, on_board, strict=True):
        assert np.array_equal(here, right), f"{name}: {(here != right).sum()} of {right.size} values differ on this machine"
        assert np.array_equal(there, right), f"{name}: {(there != right).sum()} of {right.size} values differ on the board"


def _every_way(rows: dict[str, Case]) -> tuple[Lowered, tuple[np.ndarray, ...]]:
    """One graph in which each row is computed once by each variant: every other row from inputs of each one's own, which the
    outputs may lie over, the others from the same inputs."""
    graph = merged(rows)
    ops, layers, tensors, inputs = [], [], dict(graph.tensors), {}
    for i, (op, row) in enumerate(zip(graph.ops, rows.values(), strict=True)):
        examples = dict(zip([n for n in op.inputs if graph[n].data is None], vectors(row.graph), strict=True))
        for variant in (v for v in op.variants(graph) if v.refused is None):
            name = f"{op.output} by {variant.name}"
            own = {n: f"{n} of {variant.name}" if i % 2 and n in examples else n for n in op.inputs}
            tensors |= {name: graph[op.output], **{new: graph[n] for n, new in own.items()}}
            inputs |= {own[n]: x for n, x in examples.items()}
            renamed = tuple(own[n] for n in op.inputs)
            kernels = tuple(replace(k, inputs=tuple(own[n] for n in k.inputs), outputs=(name,)) for k in variant.kernels)
            ops.append(replace(op, inputs=renamed, outputs=(name,)))
            layers.append(Layer(ops[-1], (), replace(variant, kernels=kernels)))
    names = tuple(op.output for op in ops)
    everything = replace(graph, tensors=tensors, ops=tuple(ops), inputs=tuple(inputs), outputs=names)
    return lowered_with(everything, layers), tuple(inputs.values())
