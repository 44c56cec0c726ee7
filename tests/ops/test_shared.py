"""What several operators share: loops of broadcasts and copies, TFLite's words for padding, versions in the .tflite."""

from __future__ import annotations

import numpy as np
import pytest
from case import Case, activation, case, vectors, weights
from test_ops import OPS, cases_of

from pipeline.ir import Array
from pipeline.ops._broadcast import loops
from pipeline.ops._copy import copy_kernel, steps
from pipeline.ops._window import tflite_padding
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.resize_nearest_neighbor import ResizeNearestNeighbor
from pipeline.ops.transpose_conv import TransposeConv

Ints = tuple[int, ...]

# shapes of a and b; loops, steps of a, steps of b
BROADCASTS: dict[str, tuple[Ints, Ints, tuple[Ints, Ints, Ints]]] = {
    "equal": ((1, 4, 5, 3), (1, 4, 5, 3), ((60,), (1,), (1,))),
    "ones_between": ((4, 1, 3), (4, 1, 3), ((12,), (1,), (1,))),
    "a_channel": ((1, 4, 5, 3), (3,), ((20, 3), (3, 1), (0, 1))),
    "a_row": ((1, 4, 1, 3), (1, 1, 5, 3), ((4, 5, 3), (3, 0, 1), (0, 3, 1))),
    "one_value": ((1, 1), (1,), ((), (), ())),
}


@pytest.mark.parametrize("name", BROADCASTS)
def test_broadcast_loops(name: str) -> None:
    a, b, expected = BROADCASTS[name]
    assert loops(a, b) == expected


# counts, steps in x and y; the four loops: count, step in x, step in y
COPIES: dict[str, tuple[Ints, Ints, Ints, tuple[Ints, Ints, Ints]]] = {
    "all_in_one": ((2, 3, 4), (12, 4, 1), (12, 4, 1), ((1, 1, 1, 24), (0, 0, 0, 1), (0, 0, 0, 1))),
    "inner_two": ((2, 3, 4), (30, 4, 1), (12, 4, 1), ((1, 1, 2, 12), (0, 0, 30, 1), (0, 0, 12, 1))),
    "outer_two": ((2, 3, 4), (12, 4, 1), (60, 20, 5), ((1, 1, 1, 24), (0, 0, 0, 1), (0, 0, 0, 5))),
    "ones": ((1, 3, 1, 4), (12, 4, 4, 1), (24, 8, 8, 1), ((1, 1, 3, 4), (0, 0, 4, 1), (0, 0, 8, 1))),
    "only_in_x": ((3, 4), (4, 1), (8, 1), ((1, 1, 3, 4), (0, 0, 4, 1), (0, 0, 8, 1))),
    "transposed": ((3, 4), (1, 3), (4, 1), ((1, 1, 3, 4), (0, 0, 1, 3), (0, 0, 4, 1))),
    "after_a_cut": ((2, 2, 3, 4), (60, 20, 4, 1), (24, 12, 4, 1), ((1, 2, 2, 12), (0, 60, 20, 1), (0, 24, 12, 1))),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_join_axes_that_both_sides_walk_through_as_one(name: str) -> None:
    counts, x, y, expected = COPIES[name]
    params = copy_kernel("x", "y", counts, (x, 7), (y, 9)).params
    assert (params["count"], params["x_step"], params["y_step"]) == expected
    assert (params["x_start"], params["y_start"]) == (7, 9)


def test_steps_are_row_major() -> None:
    assert steps((2, 3, 4)) == (12, 4, 1)


# input and output of a 3x3 kernel, stride, pads; the word
PADDINGS: dict[str, tuple[Ints, Ints, Ints, Ints, str | None]] = {
    "same": ((7, 7), (7, 7), (1, 1), (1, 1, 1, 1), "SAME"),
    "same_even": ((8, 8), (4, 4), (2, 2), (0, 1, 0, 1), "SAME"),
    "torch_even": ((8, 8), (4, 4), (2, 2), (1, 1, 1, 1), None),
    "valid": ((7, 7), (3, 3), (2, 2), (0, 0, 0, 0), "VALID"),
    "valid_with_pads_that_no_window_reaches": ((8, 8), (3, 3), (3, 3), (0, 1, 0, 1), "SAME"),
    "top_that_leaves_the_size": ((8, 8), (3, 3), (2, 2), (0, 0, 0, 0), "VALID"),
    "top_only": ((9, 9), (3, 3), (3, 3), (1, 0, 0, 0), None),
    "left_only": ((9, 9), (3, 3), (3, 3), (0, 0, 1, 0), None),
    "top_only_beside_valid": ((10, 10), (3, 3), (3, 3), (1, 0, 0, 0), None),
    "left_only_beside_valid": ((10, 10), (3, 3), (3, 3), (0, 0, 1, 0), None),
}


@pytest.mark.parametrize("name", PADDINGS)
def test_padding_has_tflites_word_only_where_it_gives_the_same_pads(name: str) -> None:
    x, y, stride, pads, word = PADDINGS[name]
    assert tflite_padding(x, y, (3, 3), stride, (1, 1), pads) == word  # type: ignore[arg-type]


VERSIONS = {  # readers refuse an operator whose version they do not know: a change is on purpose only
    "ADD": 2, "AVERAGE_POOL_2D": 2, "CAST": 1, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "DEQUANTIZE": 2,
    "FULLY_CONNECTED": 5, "GATHER": 2, "HARD_SWISH": 1, "LEAKY_RELU": 2, "LOGISTIC": 2, "MAXIMUM": 2, "MAX_POOL_2D": 2,
    "MEAN": 2, "MINIMUM": 2, "MUL": 2, "PAD": 2, "PADV2": 2, "PRELU": 1, "QUANTIZE": 2, "RELU": 2, "RELU6": 2, "RESHAPE": 1,
    "RESIZE_NEAREST_NEIGHBOR": 3, "SLICE": 2, "SOFTMAX": 2, "SPLIT": 2, "SPLIT_V": 2, "STRIDED_SLICE": 2, "SUB": 2,
    "TANH": 2, "TRANSPOSE": 2, "TRANSPOSE_CONV": 4,
}  # fmt: skip


def test_versions_in_the_tflite() -> None:
    from pipeline.ops import all_ops

    rows = [row for op in all_ops() for row in cases_of(op).values() if not row.not_in_tflite]
    found = {(node.builtin, node.version) for row in rows for node in row.graph.ops[0].tflite(row.graph)}
    assert found == {*VERSIONS.items(), ("ADD", 1)}  # that of int32, in a lookup's index


def test_a_dense_layer_over_several_rows_counts_the_macs_of_each() -> None:
    op = FullyConnected(inputs=("x", "w"), outputs=("y",))
    rows = case(op, x=activation(1, 2, 3, 8), w=weights(5, 8), y=activation(6, 5)).graph.checked()
    assert op.macs(rows) == 6 * 5 * 8


def test_one_row_out_of_many_divides_by_nothing() -> None:
    op = ResizeNearestNeighbor(inputs=("x",), outputs=("y",), align_corners=True)
    with np.errstate(all="raise"):
        assert op.nearest(4, 1).tolist() == [0]


def test_a_transposed_convolution_crops_nothing_unless_told() -> None:
    op = TransposeConv(inputs=("x", "w"), outputs=("y",))
    graph = case(op, x=activation(1, 4, 5, 2), w=weights(3, 2, 2, 2), y=activation(1, 5, 6, 3)).graph.checked()
    assert op.crop == (0, 0)
    assert op.macs(graph) == 4 * 5 * 2 * 2 * 2 * 3


# Which way an operator goes decides what is known of a channel's values; dead channels are found by it.
NEVER_FALLS = {
    "add", "average_pool2d", "max_pool2d", "mean", "pad", "quantize", "relu", "relu6",
}  # fmt: skip


@pytest.mark.parametrize("op", OPS)
def test_what_is_said_to_be_monotonic_never_falls(op: str) -> None:
    """Of inputs that are nowhere smaller, outputs are nowhere smaller."""
    rising = {name: row for name, row in cases_of(op).items() if row.graph.ops[-1].monotonic(row.graph)}
    assert bool(rising) == (op in NEVER_FALLS)
    for name, row in rising.items():
        low, high = _ordered(row)
        for a, b in zip(row.graph.run(*low), row.graph.run(*high), strict=True):
            assert (a <= b).all(), name


def _ordered(row: Case) -> tuple[list[Array], list[Array]]:
    """Two sets of inputs, of which the first is nowhere larger."""
    some = vectors(row.graph)
    others = [x[::-1] for x in some]
    return [np.minimum(a, b) for a, b in zip(some, others, strict=True)], [
        np.maximum(a, b) for a, b in zip(some, others, strict=True)
    ]
