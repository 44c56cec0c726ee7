"""Where the depthwise variants by rows are possible, and what they are thought to cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.ir import Graph, Quant, Tensor
from pipeline.kernel import Variant
from pipeline.ops._window import output_size
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d


def variants(
    x: tuple[int, int, int] = (6, 6, 4),
    kernel: tuple[int, int] = (3, 3),
    multiplier: int = 1,
    y_scale: float = 0.1,
    **attributes,
) -> tuple[Variant, ...]:
    """Of a convolution with weights of one, padded all around by one pixel."""
    attributes = {"stride": (1, 1), "dilation": (1, 1), "pads": (1, 1, 1, 1), **attributes}
    stride, dilation, pads = attributes["stride"], attributes["dilation"], attributes["pads"]
    h, w = (output_size(x[i], kernel[i], stride[i], dilation[i], *pads[2 * i : 2 * i + 2]) for i in (0, 1))
    channels = x[2] * multiplier
    tensors = {n: Tensor((1, *s), "int8", Quant((0.1,))) for n, s in {"x": x, "y": (h, w, channels)}.items()}
    tensors["y"] = replace(tensors["y"], quant=Quant((y_scale,)))
    tensors["w"] = Tensor((1, *kernel, channels), "int8", Quant((0.1,)), np.ones((1, *kernel, channels), np.int8))
    op = DepthwiseConv2d(inputs=("x", "w"), outputs=("y",), **attributes)
    return op.variants(Graph("g", tensors, (op,), ("x",), ("y",)).checked())


REFUSED = {
    "fits": ({}, None),
    "strides": ({"stride": (2, 1)}, None),
    "five_channels": ({"x": (6, 6, 5)}, None),
    "window": ({"kernel": (3, 1)}, "its weights are 3x1 with dilation (1, 1), not 3x3 without"),
    "dilation": ({"dilation": (1, 2)}, "its weights are 3x3 with dilation (1, 2), not 3x3 without"),
    "stride": ({"stride": (1, 3)}, "its stride is (1, 3), not one or two"),
    "multiplier": ({"multiplier": 2}, "it has 2 outputs for each input channel"),
    "channels": ({"x": (6, 6, 3)}, "3 channels are fewer than four"),
    "widest": ({"x": (6, 254, 4)}, None),
    "too_wide": ({"x": (6, 255, 4)}, "rows of 255 outputs would take 16,512 bytes of scratch"),
    "scale": ({"y_scale": 0.02}, "a channel's sums are scaled by a half or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_it_is_possible(case: str) -> None:
    arguments, why = REFUSED[case]
    general, fast, _ = variants(**arguments)
    assert (general.refused, fast.refused) == (None, why)


REFUSED_5X5 = {
    "fits": ({"kernel": (5, 5)}, None),
    "row": ({"kernel": (1, 4), "stride": (2, 1)}, None),
    "small": ({"kernel": (3, 3)}, None),
    "high": ({"kernel": (6, 3)}, "its weights are 6x3 with dilation (1, 1), not at most 5x5 without"),
    "dilation": (
        {"kernel": (2, 2), "dilation": (2, 1)},
        "its weights are 2x2 with dilation (2, 1), not at most 5x5 without",
    ),
    "stride": ({"kernel": (5, 5), "stride": (3, 1)}, "its stride is (3, 1), not one or two"),
    "multiplier": ({"kernel": (5, 5), "multiplier": 3}, "it has 3 outputs for each input channel"),
    "channels": ({"kernel": (5, 5), "x": (6, 6, 2)}, "2 channels are fewer than four"),
    "widest": ({"kernel": (5, 5), "x": (6, 254, 4)}, None),
    "too_wide": ({"kernel": (5, 5), "x": (6, 255, 4)}, "rows of 253 outputs would take 16,512 bytes of scratch"),
    "scale": ({"kernel": (5, 5), "y_scale": 0.02}, "a channel's sums are scaled by a half or more"),
}


@pytest.mark.parametrize("case", REFUSED_5X5)
def test_where_windows_up_to_five_by_five_are_possible(case: str) -> None:
    arguments, why = REFUSED_5X5[case]
    assert variants(**arguments)[2].refused == why


# two outputs a step and cells of two columns at stride one, one output and a cell each at stride two
SCRATCH = {
    "even": ((6, 6), (1, 1), 4),
    "odd": ((6, 7), (1, 1), 5),
    "stride2": ((6, 8), (1, 2), 5),
    "high": ((8, 6), (2, 1), 4),
}


@pytest.mark.parametrize("name", SCRATCH)
def test_scratch(name: str) -> None:
    size, stride, cells = SCRATCH[name]
    assert variants((*size, 4), stride=stride)[1].scratch_bytes == 128 * cells


def test_costs() -> None:
    """Of 6x6 outputs, 16 x 16 multiply-accumulates have a pixel of the image."""
    general, fast, five = variants()
    assert general.cost == 4 * (6 * 256 + 58 * 36)
    assert fast.cost == 516 + 4 * 6 * (13 + 15 * 6) + 8 * (35 + 20 * 4)  # by TFLM's formula, six rows at once
    assert five.cost == 516 + 4 * 6 * (17 + 58 * 3) + 8 * (35 + 20 * 5)
    assert variants((8, 7, 4), (5, 2), stride=(2, 2))[2].cost == 300 + 2 * 216 + 4 * 3 * (17 + 61 * 4) + 9 * (35 + 20 * 6)
    assert variants((6, 6, 5))[1].cost == 2 * fast.cost
    proven = 516 + 4 * 6 * (7 + 12 * 6) + 8 * (35 + 20 * 4)
    assert variants(activation="relu")[1].cost == proven + 7 * 4 * 36  # clamped to less than the whole range
    assert variants(stride=(2, 2))[1].cost == 516 + 4 * 3 * (13 + 20 * 3) + 7 * (35 + 20 * 4)
    assert variants((7, 7, 4))[1].cost == 300 + 2 * 216 + 4 * 7 * (13 + 15 * 6 + 20) + 9 * (35 + 20 * 5)
