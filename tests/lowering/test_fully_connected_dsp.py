"""Where the fully-connected variant for cores with the DSP extension is possible, how its weights lie, what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.ir import Array, Graph, Quant, Tensor
from pipeline.kernel import Variant
from pipeline.ops.fully_connected import FullyConnected


def variants(
    w: Array, rows: int = 1, x_zero: int = 0, bias: Array | None = None, y_scale: float = 1.0
) -> tuple[Variant, ...]:
    outputs, inputs = w.shape
    tensors = {
        "x": Tensor((rows, inputs), "int8", Quant((0.1,), x_zero)),
        "w": Tensor(w.shape, "int8", Quant((0.1,)), w),
        "y": Tensor((rows, outputs), "int8", Quant((y_scale,))),
    }
    if bias is not None:
        tensors["b"] = Tensor(bias.shape, "int32", Quant((0.01,)), bias)
    op = FullyConnected(inputs=("x", "w") if bias is None else ("x", "w", "b"), outputs=("y",))
    return op.variants(Graph("g", tensors, (op,), ("x",), ("y",)).checked())


def ones(outputs: int, inputs: int) -> Array:
    return np.ones((outputs, inputs), np.int8)


def loud(inputs: int, odd_row: bool = True) -> Array:
    w = ones(4, inputs)
    w[int(odd_row)] = 127
    return w


HALFWORD = "a weight is -128, which two channels in one halfword have no room for"
REFUSED = {
    "fits": (ones(4, 1), None),
    "outputs": (ones(3, 8), None),
    "widest": (loud(515), None),
    "too_wide": (loud(518), "its sums can reach 8,388,608"),
    "borrow": (np.array([[-1], [-128], [0], [0]], np.int8), HALFWORD),
    "no_borrow": (np.array([[0], [-128], [-128], [0]], np.int8), None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_is_possible(case: str) -> None:
    w, why = REFUSED[case]
    general, fast = variants(w)
    assert (general.refused, fast.refused) == (None, why)


def test_a_scale_that_the_rounding_is_not_made_for() -> None:
    assert variants(ones(4, 4), y_scale=0.001)[1].refused == "a requantisation shifts by 4, not by -1 to -22"


def test_weights_lie_in_the_order_of_use() -> None:
    """Starts of four outputs, then of each four inputs words of two outputs' weights; here by TFLM's formula. Inputs are
    filled up to eights, outputs to fours."""
    w = np.arange(5 * 9, dtype=np.int8).reshape(5, 9) - 22
    pair = variants(w, x_zero=7)[1].kernels[0].params["pair"]
    stream = pair["stream"].astype(np.int64)
    assert (pair["y_c"], pair["fours"], pair["whole"], pair["words"]) == (5, 4, 33, 66)
    padded = np.zeros((8, 16), int)
    padded[:5, :9] = w
    start = [-7 * int(padded[o].sum()) * (256 if o % 2 else 1) for o in range(8)]
    for first, at in ((0, 0), (4, 33)):
        a, b, c, d = start[first : first + 4]
        assert stream[at : at + 4].tolist() == [a, a + b, c, c + d]
        words = iter(stream[at + 4 : at + 20].tolist())
        for four in range(0, 16, 4):
            for low in (four, four + 1):
                for o in (first, first + 2):
                    halves = [256 * padded[o + 1, k] + padded[o, k] for k in (low, low + 2)]
                    assert next(words) % 2**32 == halves[0] % 2**16 + (halves[1] % 2**16 << 16)
        assert stream[at + 20] == 0
    assert stream[[21, 22, 23]].tolist() == [1374389576, 32, 6]


def test_the_bias_is_where_the_sums_start() -> None:
    w = np.array([[1, 2], [3, -4], [0, 0], [5, 5]], np.int8)
    bias = np.array([1, 2, 3, 4], np.int32)
    for given, expected in ((None, [-21, -21 + 256 * 7, 0, 256 * -70]), (bias, [-20, -20 + 256 * 9, 3, 3 + 256 * -66])):
        assert variants(w, x_zero=7, bias=given)[1].kernels[0].params["pair"]["stream"][:4].tolist() == expected


def test_costs_and_scratch() -> None:
    general, fast = variants(ones(6, 11), rows=3)
    assert general.cost == 3 * (237 + 2 * 30 + 3 * 19 + 2 * (81 + 2 * 13 + 3 * 5))
    assert fast.cost == 3 * (60 + 10 * 2 + 2 * (15 + 36 + 27 * 2 + 3))
    assert fast.scratch_bytes == 32
    assert variants(ones(4, 8))[1].scratch_bytes == 16
