"""Where the fully-connected variant for cores with the DSP extension is possible, how its weights lie, what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.ir import Array, Graph, Quant, Tensor
from pipeline.kernel import Variant
from pipeline.ops.fully_connected import FullyConnected, packed_weights


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


REFUSED = {
    "fits": (ones(4, 1), None),
    "outputs": (ones(3, 8), "3 outputs are fewer than four"),
    "widest": (loud(516), None),
    "too_wide": (loud(517), "its weights are so large that two of them do not fit one number"),
    "too_wide_but_even": (loud(517, odd_row=False), None),
    "borrow": (
        np.array([[-1], [-128], [0], [0]], np.int8),
        "its weights are so large that two of them do not fit one number",
    ),
    "no_borrow": (np.array([[0], [-128], [0], [0]], np.int8), None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_is_possible(case: str) -> None:
    w, why = REFUSED[case]
    general, fast = variants(w)
    assert (general.refused, fast.refused) == (None, why)


def test_a_scale_that_the_rounding_is_not_made_for() -> None:
    assert variants(ones(4, 4), y_scale=0.01)[1].refused == "a channel's sums are scaled by a half or more"


def test_words_have_two_outputs_of_two_inputs() -> None:
    """Of each eight inputs four words for outputs 0 and 1, then four for 2 and 3, in the order that SXTB16 gives inputs."""
    w = np.arange(5 * 9).reshape(5, 9) - 22
    packed = packed_weights(w)
    assert packed is not None
    assert packed.dtype == np.int32
    at = iter(packed.tolist())
    padded = np.zeros((8, 16), int)
    padded[:5, :9] = w
    for o in (0, 4):
        for block in (0, 8):
            for pair in (0, 2):
                for low in (0, 1, 4, 5):
                    halves = [256 * padded[o + pair + 1, block + k] + padded[o + pair, block + k] for k in (low, low + 2)]
                    assert next(at) == np.int64(halves[1]) * 65536 + halves[0] % 65536
    assert next(at, None) is None


def test_the_bias_takes_in_the_zero_point() -> None:
    w = np.array([[1, 2], [3, -4], [0, 0], [5, 5]], np.int8)
    for bias, expected in ((None, [-21, 7, 0, -70]), (np.array([1, 2, 3, 4], np.int32), [-20, 9, 3, -66])):
        params = variants(w, x_zero=7, bias=bias)[1].kernels[0].params
        assert params["bias"].tolist() == expected
        assert params["bias"].dtype == np.int32
        assert "x_zero" not in params


def test_costs_and_scratch() -> None:
    general, fast = variants(ones(6, 11), rows=3)
    assert general.cost == 3 * (237 + 2 * 30 + 3 * 19 + 2 * (81 + 2 * 13 + 3 * 5))
    assert fast.cost == 3 * (20 + 12 * 2 + 2 * (77 + 30 * 2) + 22 * 6)
    assert fast.scratch_bytes == 32
    assert variants(ones(4, 8))[1].scratch_bytes == 16
