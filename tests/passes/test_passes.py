"""Every pass: the same outputs before and after, and the change it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.ir import Array, Graph, Op, Quant, Tensor
from pipeline.ops.add import Add
from pipeline.ops.concatenation import Concatenation
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.mean import Mean
from pipeline.ops.pad import Pad
from pipeline.ops.quantize import Quantize
from pipeline.ops.relu import Relu
from pipeline.ops.reshape import Reshape
from pipeline.passes import optimize
from pipeline.passes.drop_noops import drop_noops
from pipeline.passes.eliminate_dead_channels import FEWEST, eliminate_dead_channels
from pipeline.passes.fold_constants import fold_constants
from pipeline.passes.fuse_clamp import fuse_clamp
from pipeline.passes.fuse_pad import fuse_pad
from pipeline.passes.intervals import channel_intervals

Q = Quant((0.05,), -10)


class Builder:
    """Small graphs of random weights; each method adds an operator and gives the name of its output."""

    def __init__(self, shape: tuple[int, ...] = (1, 6, 6, 4), seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {"x": Tensor(shape, "int8", Quant((0.04,), 3))}
        self.ops: list[Op] = []

    def put(
        self, op: Callable[..., Op], inputs: tuple[str, ...], shape: tuple[int, ...], quant: Quant = Q, **fields: object
    ) -> str:
        name = f"t{len(self.ops)}"
        self.tensors[name] = Tensor(shape, "int8", quant)
        self.ops.append(op(inputs=inputs, outputs=(name,), **fields))
        return name

    def weights(self, shape: tuple[int, ...], axis: int = 0) -> tuple[str, str]:
        channels = shape[axis]
        scales = tuple(self.rng.uniform(0.002, 0.01, channels))
        name = f"w{len(self.tensors)}"
        self.tensors[name] = Tensor(
            shape, "int8", Quant(scales, 0, axis), self.rng.integers(-127, 128, shape).astype(np.int8)
        )
        bias = self.rng.integers(-2000, 2000, channels).astype(np.int32)
        self.tensors[name + "b"] = Tensor((channels,), "int32", None, bias)
        return name, name + "b"

    def conv(self, x: str, channels: int, kernel: int = 3, pad: int = 1, activation: str = "none") -> str:
        _, h, w, c = self.tensors[x].shape
        size = (h + 2 * pad - kernel + 1, w + 2 * pad - kernel + 1)
        inputs = (x, *self.weights((channels, kernel, kernel, c)))
        return self.put(Conv2d, inputs, (1, *size, channels), pads=(pad,) * 4, activation=activation)

    def depthwise(self, x: str, activation: str = "none") -> str:
        _, h, w, c = self.tensors[x].shape
        return self.put(
            DepthwiseConv2d, (x, *self.weights((1, 3, 3, c), 3)), (1, h, w, c), pads=(1,) * 4, activation=activation
        )

    def head(self, x: str, classes: int = 5) -> str:
        _, _, _, c = self.tensors[x].shape
        flat = self.put(Mean, (x,), (1, c), axes=(1, 2))
        return self.put(FullyConnected, (flat, *self.weights((classes, c))), (1, classes))

    def edit(self, name: str, change: Callable[[Array], None]) -> None:
        data = np.array(self.tensors[name].data)
        change(data)
        self.tensors[name] = replace(self.tensors[name], data=data)

    def graph(self, *outputs: str) -> Graph:
        return Graph("case", self.tensors, tuple(self.ops), ("x",), outputs or (self.ops[-1].output,)).checked()


def assert_same(before: Graph, after: Graph) -> None:
    shape = before[before.inputs[0]].shape
    x = np.random.default_rng(1).integers(-128, 128, (40, *shape), dtype=np.int8)
    x[0], x[1] = -128, 127
    for a, b in zip(before.run(x), after.checked().run(x), strict=True):
        np.testing.assert_array_equal(a, b)


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops]


def test_fuse_clamp_folds_relu_into_its_producer() -> None:
    b = Builder()
    y = b.conv("x", 8)
    b.put(Relu, (y,), b.tensors[y].shape)
    before = b.graph()
    after = fuse_clamp(before)
    assert kinds(after) == ["conv2d"]
    assert after.ops[0].activation == "relu"
    assert_same(before, after)


@pytest.mark.parametrize("why", ["read twice", "requantised"])
def test_fuse_clamp_leaves_what_it_would_change(why: str) -> None:
    b = Builder()
    y = b.conv("x", 4)
    quant = Q if why == "read twice" else Quant((0.07,), -20)
    r = b.put(Relu, (y,), b.tensors[y].shape, quant)
    before = b.graph(r, y) if why == "read twice" else b.graph()
    assert fuse_clamp(before) is before


def test_fuse_pad_makes_explicit_pads() -> None:
    b = Builder()
    padded = b.put(Pad, ("x",), (1, 7, 8, 4), Quant((0.04,), 3), widths=((0, 0), (0, 1), (1, 1), (0, 0)))
    b.conv(padded, 6, pad=0)
    before = b.graph()
    after = fuse_pad(before)
    assert kinds(after) == ["conv2d"]
    assert after.ops[0].pads == (0, 1, 1, 1)
    assert_same(before, after)


def test_fuse_pad_leaves_other_fill_values() -> None:
    b = Builder()
    widths = ((0, 0), (1, 1), (1, 1), (0, 0))
    padded = b.put(Pad, ("x",), (1, 8, 8, 4), Quant((0.04,), 3), widths=widths, value=-128)
    b.conv(padded, 6, pad=0)
    before = b.graph()
    assert fuse_pad(before) is before


def test_drop_noops_reads_through_reshapes() -> None:
    b = Builder((1, 2, 2, 4))
    quant = Quant((0.04,), 3)
    flat = b.put(Reshape, ("x",), (1, 16), quant)
    square = b.put(Reshape, (flat,), (1, 4, 4, 1), quant)
    same = b.put(Reshape, (square,), (1, 4, 4, 1), quant)
    b.conv(same, 3)
    before = b.graph()
    after = drop_noops(before)
    assert kinds(after) == ["reshape", "conv2d"]
    assert_same(before, after)


def test_fold_constants_computes_what_depends_on_constants_only() -> None:
    b = Builder((1, 4, 4, 3))
    b.tensors["c"] = Tensor((1, 4, 4, 3), "int8", Q, b.rng.integers(-128, 128, (1, 4, 4, 3)).astype(np.int8))
    rectified = b.put(Relu, ("c",), (1, 4, 4, 3))
    b.put(Add, ("x", rectified), (1, 4, 4, 3))
    before = b.graph()
    after = fold_constants(before)
    assert kinds(after) == ["add"]
    assert_same(before, after)


@pytest.mark.parametrize("shape", [(4,), (1, 2, 3)])
@pytest.mark.parametrize(
    ("op", "computed"),
    [(Concatenation, "neither"), *((op, c) for op in (Add, Concatenation) for c in ("first", "second", "both"))],
)
def test_fold_constants_takes_operands_that_are_computed_or_not(op: type[Op], computed: str, shape: tuple[int, ...]) -> None:
    joined = (*shape[:-1], 2 * shape[-1]) if op is Concatenation else shape
    b = Builder(joined)
    for name in ("c", "d"):
        b.tensors[name] = Tensor(shape, "int8", Q, b.rng.integers(-128, 128, shape).astype(np.int8))
    first = b.put(Relu, ("c",), shape) if computed in ("first", "both") else "c"
    second = b.put(Relu, ("d",), shape) if computed in ("second", "both") else "d"
    fields = {"axis": len(shape) - 1} if op is Concatenation else {}
    b.put(Add, ("x", b.put(op, (first, second), joined, **fields)), joined)
    before = b.graph()
    after = fold_constants(before)
    assert kinds(after) == ["add"]
    c, d = (np.array(b.tensors[n].data) for n in ("c", "d"))
    left, right = np.maximum(c, Q.zero_point) if first != "c" else c, np.maximum(d, Q.zero_point) if second != "d" else d
    if op is Concatenation:
        expected = np.concatenate([left, right], axis=-1)
    else:
        expected = np.clip(left.astype(int) + right - Q.zero_point, -128, 127)
    np.testing.assert_array_equal(after.constant(after.ops[0].inputs[1]), expected)


def test_drop_noops_keeps_what_writes_an_output() -> None:
    b = Builder((1, 2, 2, 4))
    quant = Quant((0.04,), 3)
    same = b.put(Quantize, ("x",), (1, 2, 2, 4), quant)
    padded = b.put(Pad, (same,), (1, 2, 2, 4), quant, widths=((0, 0),) * 4)
    flat = b.put(Reshape, (padded,), (1, 16), quant)
    before = b.graph(flat)
    after = drop_noops(before)
    assert kinds(after) == ["reshape"]
    assert_same(before, after)
    named = b.graph(same, flat)
    assert kinds(drop_noops(named)) == ["quantize", "reshape"]
    assert_same(named, drop_noops(named))


def test_fuse_pad_leaves_the_pad_to_its_other_readers() -> None:
    b = Builder()
    padded = b.put(Pad, ("x",), (1, 8, 8, 4), Quant((0.04,), 3), widths=((0, 0), (1, 1), (1, 1), (0, 0)))
    b.conv(padded, 6, pad=0)
    before = b.graph(b.ops[-1].output, padded)
    after = fuse_pad(before)
    assert kinds(after) == ["pad", "conv2d"]
    assert after.ops[1].inputs[0] == "x"
    assert_same(before, after)


def test_dead_channels_unread_and_constant_ones_go() -> None:
    b = Builder()
    first = b.conv("x", 8, activation="relu")
    b.conv(first, 6)
    b.head(b.ops[-1].output)
    names = [op.inputs for op in b.ops]
    b.edit(names[1][1], lambda w: w.__setitem__((..., 2), 0))  # nobody reads channel 2 of the first convolution
    b.edit(names[0][1], lambda w: w.__setitem__(5, 0))  # its channel 5 is its bias: constant ...
    b.edit(names[0][2], lambda bias: bias.__setitem__(5, -9000))  # ... and clamped to the zero point, which padding keeps
    before = b.graph()
    after = eliminate_dead_channels(before)
    assert after[first].shape[-1] == 6
    assert after.macs() < before.macs()
    assert_same(before, after)


def test_dead_channels_constant_beside_the_zero_point_stays_under_padding() -> None:
    b = Builder()
    first = b.conv("x", 8)
    b.conv(first, 6, pad=1)
    b.edit(b.ops[0].inputs[1], lambda w: w.__setitem__(5, 0))
    before = b.graph()
    assert eliminate_dead_channels(before) is before


def test_dead_channels_constant_folds_into_the_bias_without_padding() -> None:
    b = Builder()
    first = b.conv("x", 8)
    b.conv(first, 6, pad=0)
    b.edit(b.ops[0].inputs[1], lambda w: w.__setitem__(5, 0))
    before = b.graph()
    after = eliminate_dead_channels(before)
    assert after[first].shape[-1] == 7
    assert_same(before, after)


def test_dead_channels_go_through_depthwise_add_and_pool_together() -> None:
    b = Builder()
    left = b.conv("x", 8, activation="relu")
    right = b.depthwise(left, activation="relu")
    added = b.put(Add, (left, right), b.tensors[left].shape)
    pooled = b.put(MaxPool2d, (added,), (1, 3, 3, 8), kernel=(2, 2), stride=(2, 2))
    b.conv(pooled, 4)
    b.edit(b.ops[-1].inputs[1], lambda w: w.__setitem__((..., [1, 3]), 0))
    before = b.graph()
    after = eliminate_dead_channels(before)
    assert {after[n].shape[-1] for n in (left, right, added, pooled)} == {6}
    assert_same(before, after)


def test_dead_channels_keep_the_fewest() -> None:
    b = Builder()
    first = b.conv("x", 8)
    b.conv(first, 4)
    b.edit(b.ops[1].inputs[1], lambda w: w.fill(0))
    before = b.graph()
    after = eliminate_dead_channels(before)
    assert after[first].shape[-1] == FEWEST
    assert_same(before, after)


@pytest.mark.parametrize("seed", range(25))
def test_optimize_never_changes_an_output(seed: int) -> None:
    """Random sparse networks with every kind of tie between tensors."""
    b = Builder(seed=seed)
    rng = b.rng
    x = b.conv("x", 8, activation=str(rng.choice(["none", "relu", "relu6"])))
    for _ in range(int(rng.integers(1, 4))):
        branch = b.depthwise(x, activation="relu")
        if rng.random() < 0.5:
            kernel = int(rng.choice([1, 3]))
            branch = b.conv(branch, 8, kernel=kernel, pad=kernel // 2)
        y = b.put(Add, (x, branch), b.tensors[x].shape)
        x = b.put(Relu, (y,), b.tensors[y].shape)
    b.head(x)
    for op in b.ops:
        if len(op.inputs) == 3:
            channels = b.tensors[op.inputs[1]].shape[-1]
            gone = rng.random(channels) < 0.3
            b.edit(op.inputs[1], lambda w, gone=gone: w.__setitem__((..., gone), 0))
            low = rng.random(b.tensors[op.inputs[2]].shape[0]) < 0.3
            b.edit(op.inputs[2], lambda bias, low=low: bias.__setitem__(low, -40000))
    before = b.graph()
    assert_same(before, optimize(before))


@pytest.mark.parametrize("seed", range(5))
def test_intervals_contain_every_value(seed: int) -> None:
    b = Builder(seed=seed)
    x = b.depthwise(b.conv("x", 8, activation="relu"))
    b.head(b.put(Add, (x, b.conv(x, 8)), b.tensors[x].shape))
    graph = b.graph()
    bounds = channel_intervals(graph)
    samples = b.rng.integers(-128, 128, (200, *graph["x"].shape), dtype=np.int8)

    def inside(name: str, values: Array) -> None:
        low, high = bounds[name]
        assert (values >= low).all(), name
        assert (values <= high).all(), name

    graph.trace(samples, visit=inside)


def test_mobilenet_loses_its_dead_channels(shared: Path) -> None:
    """82.8 % of the official file's weights are zero; what remains fits in 35 kB and answers the same."""
    from pipeline.importers.tflite.importer import load_tflite

    folder = shared / "models" / "mlperf_tiny" / "mobilenet_v1_025"
    before = load_tflite(folder / "mobilenet_v1_025_int8.tflite")
    after = optimize(before)
    assert sum(t.nbytes for t in after.used_constants().values()) <= 35_000
    shape = before[before.inputs[0]].shape
    known = np.stack([np.fromfile(folder / f"input_{i}.bin", np.int8).reshape(shape) for i in range(9)])
    random = np.random.default_rng(0).integers(-128, 128, (200, *shape), dtype=np.int8)
    x = np.concatenate([known, random])
    np.testing.assert_array_equal(before.run(x)[0], after.run(x)[0])
