"""Where the passes could go wrong unnoticed: uneven pads, windows at the edge, reshapes, per-tensor scales, overflow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_passes import Builder, Q, assert_same

from pipeline.codegen.to_tflite import to_tflite
from pipeline.ir import Array, Graph, Quant, Tensor
from pipeline.ops._window import output_size
from pipeline.ops.add import Add
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.hard_swish import HardSwish
from pipeline.ops.mean import Mean
from pipeline.ops.mul import Mul
from pipeline.ops.pad import Pad
from pipeline.ops.quantize import Quantize
from pipeline.ops.relu import Relu
from pipeline.ops.reshape import Reshape
from pipeline.ops.sub import Sub
from pipeline.passes import optimize
from pipeline.passes.eliminate_dead_channels import eliminate_dead_channels
from pipeline.passes.fuse_pad import fuse_pad
from pipeline.passes.intervals import channel_intervals, touches_padding
from pipeline.proof.tflm import tflm_available, tflm_run

INPUT = Quant((0.04,), 3)


def test_fuse_pad_adds_each_side_to_its_own() -> None:
    b = Builder((1, 6, 6, 4))
    padded = b.put(Pad, ("x",), (1, 11, 14, 4), INPUT, widths=((0, 0), (4, 1), (2, 6), (0, 0)))
    inputs = (padded, *b.weights((6, 3, 3, 4)))
    b.put(Conv2d, inputs, (1, 11 + 3 - 2, 14 + 7 - 2, 6), pads=(0, 3, 5, 2))
    before = b.graph()
    after = fuse_pad(before)
    assert [op.kind for op in after.ops] == ["conv2d"]
    assert after.ops[0].pads == (4 + 0, 1 + 3, 2 + 5, 6 + 2)  # type: ignore[attr-defined]
    assert_same(before, after)


# input height and width, stride, pads of a 3x3 kernel; whether a window reaches outside
EDGES = {
    "none": ((6, 6), 1, (0, 0, 0, 0), False),
    "top": ((6, 6), 1, (1, 0, 0, 0), True),
    "bottom": ((6, 6), 1, (0, 1, 0, 0), True),
    "left": ((6, 6), 1, (0, 0, 1, 0), True),
    "right": ((6, 6), 1, (0, 0, 0, 1), True),
    "left_whose_windows_end_inside": ((7, 7), 2, (0, 0, 1, 0), True),
    "top_whose_windows_end_inside": ((7, 7), 2, (1, 0, 0, 0), True),
    "bottom_that_no_window_reaches": ((7, 7), 2, (0, 1, 0, 0), False),
    "right_that_no_window_reaches": ((7, 7), 2, (0, 0, 0, 1), False),
    "right_that_the_last_window_reaches": ((6, 6), 2, (0, 0, 0, 1), True),
}


@pytest.mark.parametrize("name", EDGES)
def test_touches_padding(name: str) -> None:
    (h, w), stride, pads, expected = EDGES[name]
    b = Builder((1, h, w, 4))
    size = (output_size(h, 3, stride, 1, *pads[:2]), output_size(w, 3, stride, 1, *pads[2:]))
    b.put(Conv2d, ("x", *b.weights((5, 3, 3, 4))), (1, *size, 5), stride=(stride, stride), pads=pads)
    graph = b.graph()
    assert touches_padding(graph.ops[0], graph) is expected  # type: ignore[arg-type]


def test_an_input_takes_every_int8_and_no_more() -> None:
    b = Builder()
    b.conv("x", 4)
    low, high = channel_intervals(b.graph())["x"]
    assert (low.tolist(), high.tolist()) == ([-128] * 4, [127] * 4)


@pytest.mark.parametrize("bias", [-(2**31) + 10, 2**31 - 10])
def test_an_accumulator_that_could_wrap_has_the_whole_range(bias: int) -> None:
    b = Builder()
    y = b.conv("x", 4, kernel=1, pad=0)
    b.edit(b.ops[0].inputs[2], lambda values: values.__setitem__(2, bias))
    graph = Graph("case", b.tensors, tuple(b.ops), ("x",), (y,))
    low, high = channel_intervals(graph)[y]
    assert (low.tolist(), high.tolist()) == ([-128] * 4, [127] * 4)


@pytest.mark.parametrize(
    ("shape", "source"),
    [
        pytest.param((1, 6 * 6 * 8), np.arange(6 * 6 * 8) % 8, id="flattened"),
        pytest.param((1, 6, 3, 16), np.arange(16) % 8, id="in pairs"),
        pytest.param((1, 6, 6, 8), np.arange(8), id="as it was"),
    ],
)
def test_intervals_follow_a_reshape_to_more_channels(shape: tuple[int, ...], source: Array) -> None:
    b = Builder()
    x = b.conv("x", 8, activation="relu")
    b.edit(b.ops[0].inputs[1], lambda w: w.__setitem__([1, 6], 0))  # channels of their own value
    y = b.put(Reshape, (x,), shape)
    bounds = channel_intervals(b.graph())
    for side in (0, 1):
        np.testing.assert_array_equal(bounds[y][side], bounds[x][side][source])


def test_intervals_follow_a_reshape_to_fewer_channels() -> None:
    b = Builder()
    x = b.conv("x", 8, activation="relu")
    b.edit(b.ops[0].inputs[1], lambda w: w.__setitem__([1, 6, 5], 0))
    y = b.put(Reshape, (x,), (1, 6, 12, 4))
    bounds = channel_intervals(b.graph())
    (x_low, x_high), (low, high) = bounds[x], bounds[y]
    assert low.tolist() == [min(x_low[c], x_low[c + 4]) for c in range(4)]
    assert high.tolist() == [max(x_high[c], x_high[c + 4]) for c in range(4)]
    assert len(set(high.tolist())) > 1, "else the order of channels would not show"


def test_intervals_give_up_where_channels_do_not_divide() -> None:
    b = Builder((1, 6, 6, 4))
    x = b.conv("x", 8, activation="relu")
    y = b.put(Reshape, (x,), (1, 6, 4, 12))
    low, high = channel_intervals(b.graph())[y]
    assert (low.tolist(), high.tolist()) == ([-128] * 12, [127] * 12)


def test_a_value_without_axes_has_one_interval() -> None:
    b = Builder((1, 5))
    mean = b.put(Mean, ("x",), (), axes=(0, 1))
    clamped = b.put(Relu, (mean,), ())
    shaped = b.put(Reshape, (clamped,), (1, 1))
    bounds = channel_intervals(b.graph())
    found = {name: tuple(side.tolist() for side in bounds[name]) for name in (mean, clamped, shaped)}
    assert found == {mean: ([-128], [127]), clamped: ([-10], [127]), shaped: ([-10], [127])}
    assert_same(b.graph(), optimize(b.graph()))


def test_a_dense_layer_reads_a_value_without_axes() -> None:
    b = Builder((1, 5))
    mean = b.put(Mean, ("x",), (), axes=(0, 1))
    b.put(FullyConnected, (mean, *b.weights((3, 1))), (1, 3))
    assert_same(b.graph(), optimize(b.graph()))


def test_intervals_cover_a_border_and_what_is_inside() -> None:
    b = Builder()
    padded = b.put(Pad, ("x",), (1, 8, 8, 4), INPUT, widths=((0, 0), (1, 1), (1, 1), (0, 0)))
    b.conv(padded, 4)
    low, high = channel_intervals(b.graph())[padded]
    assert (low.tolist(), high.tolist()) == ([-128] * 4, [127] * 4)


@pytest.mark.parametrize("kind", ["conv2d", "fully_connected", "relu", "mean", "quantize"])
def test_intervals_give_up_where_a_left_shift_wraps(kind: str) -> None:
    """Scales so far apart that TFLM's left shift leaves 32 bits: larger sums may then have smaller answers."""
    b, fine = Builder((1, 4, 4, 4)), Quant((1e-9,), 0)
    put = {
        "conv2d": lambda: b.put(Conv2d, ("x", *b.weights((4, 1, 1, 4))), (1, 4, 4, 4), fine, pads=(0, 0, 0, 0)),
        "fully_connected": lambda: b.put(
            FullyConnected, (b.put(Reshape, ("x",), (16, 4), INPUT), *b.weights((4, 4))), (16, 4), fine
        ),
        "relu": lambda: b.put(Relu, ("x",), (1, 4, 4, 4), fine),
        "mean": lambda: b.put(Mean, ("x",), (1, 4), fine, axes=(1, 2)),
        "quantize": lambda: b.put(Quantize, ("x",), (1, 4, 4, 4), fine),
    }
    y = put[kind]()
    graph = b.graph()
    low, high = channel_intervals(graph)[y]
    assert (low.tolist(), high.tolist()) == ([-128] * 4, [127] * 4)
    (values,) = graph.run(np.random.default_rng(0).integers(-128, 128, (500, 1, 4, 4, 4), dtype=np.int8))
    assert values.min() <= 0 < values.max()
    assert_same(graph, eliminate_dead_channels(graph))


def test_intervals_cover_a_constant_that_differs_from_place_to_place() -> None:
    b = Builder()
    b.tensors["c"] = Tensor((1, 6, 6, 4), "int8", Q, np.arange(-72, 72).astype(np.int8).reshape(1, 6, 6, 4))
    quiet = b.conv("x", 4)
    b.edit(b.ops[0].inputs[1], lambda w: w.fill(0))  # the sum varies with the constant alone
    b.edit(b.ops[0].inputs[2], lambda bias: bias.fill(0))
    y = b.put(Add, (quiet, "c"), (1, 6, 6, 4))
    graph = b.graph()
    low, high = channel_intervals(graph)[y]
    values = graph.run(np.zeros((1, 1, 6, 6, 4), np.int8).reshape(1, *graph["x"].shape))[0].reshape(-1, 4)
    assert (low.tolist(), high.tolist()) == (values.min(axis=0).tolist(), values.max(axis=0).tolist())
    assert (low < high).all()


@pytest.mark.parametrize("kind", ["hard_swish", "sub", "mul"])
def test_what_may_fall_while_its_input_rises_has_the_whole_range(kind: str) -> None:
    """Its lowest value lies inside of the interval, or where the other operand is highest."""
    b = Builder()
    x = b.conv("x", 4)
    if kind == "hard_swish":
        y = b.put(HardSwish, (x,), (1, 6, 6, 4))
    else:
        y = b.put(Sub if kind == "sub" else Mul, (x, b.conv("x", 4)), (1, 6, 6, 4), Quant((0.02,), 0))
    low, high = channel_intervals(b.graph())[y]
    assert (low.tolist(), high.tolist()) == ([-128] * 4, [127] * 4)


@pytest.mark.parametrize(("outputs", "folded"), [(4140, True), (4150, False)])
def test_constants_that_could_overflow_the_bias_are_not_folded(outputs: int, folded: bool) -> None:
    """The sum of all weights times 255 is around 2**30."""
    b = Builder((1, 1, 1, 4))
    x = b.conv("x", 8, kernel=1, pad=0, activation="relu")
    b.edit(b.ops[0].inputs[1], lambda w: w.__setitem__(3, 0))  # a channel of one value
    flat = b.put(Reshape, (x,), (1, 8))
    b.put(FullyConnected, (flat, *b.weights((outputs, 8))), (1, outputs))
    b.edit(b.ops[2].inputs[1], lambda w: w.fill(127))
    before = b.graph()
    after = eliminate_dead_channels(before)
    assert after[x].shape[-1] == (7 if folded else 8)
    assert_same(before, after)


def test_dead_channels_go_through_a_reshape_that_drops_axes() -> None:
    b = Builder((1, 3, 3, 4))
    x = b.conv("x", 8, pad=0)
    flat = b.put(Reshape, (x,), (1, 8))
    b.put(FullyConnected, (flat, *b.weights((5, 8))), (1, 5))
    b.edit(b.ops[2].inputs[1], lambda w: w.__setitem__((..., [1, 6]), 0))
    before = b.graph()
    after = eliminate_dead_channels(before)
    assert {after[n].shape[-1] for n in (x, flat)} == {6}
    assert_same(before, after)


@pytest.mark.parametrize("per_channel", [True, False])
def test_what_is_left_of_the_weights_keeps_its_scales(per_channel: bool) -> None:
    """The file that other runtimes read has the scales in it."""
    b = Builder()
    first = b.conv("x", 8)
    b.conv(first, 6)
    if not per_channel:
        for name in (b.ops[0].inputs[1], b.ops[1].inputs[1]):
            b.tensors[name] = replace(b.tensors[name], quant=Quant((0.004,)))
    b.edit(b.ops[1].inputs[1], lambda w: w.__setitem__((..., [2, 5]), 0))
    before = b.graph()
    after = eliminate_dead_channels(before)
    left = [0, 1, 3, 4, 6, 7]
    weights, bias = (after[n] for n in after.ops[0].inputs[1:])
    old = before[before.ops[0].inputs[1]]
    assert weights.quant is not None
    assert bias.quant is not None
    assert old.quant is not None
    assert weights.quant.axis == old.quant.axis
    assert weights.quant.scale == (tuple(old.quant.scale[i] for i in left) if per_channel else old.quant.scale)
    assert bias.quant.scale == pytest.approx([before["x"].scale * s for s in weights.quant.scale])
    assert bias.quant.axis == (0 if per_channel else None)
    assert_same(before, after)
    if tflm_available():
        x = np.random.default_rng(2).integers(-128, 128, (8, *before["x"].shape), dtype=np.int8)
        np.testing.assert_array_equal(tflm_run(to_tflite(after), x)[0], before.run(x)[0])
