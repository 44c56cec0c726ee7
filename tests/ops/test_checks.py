"""Each operator refuses what it can not compute, and says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from case import activation, constant, weights
from cases import (
    add,
    average_pool2d,
    conv2d,
    depthwise_conv2d,
    fully_connected,
    mean,
    pad,
    quantize,
    relu6,
    reshape,
    softmax,
)

from pipeline.errors import GraphError
from pipeline.ir import Quant, Tensor

CONV = conv2d.CASES["3x3_same_odd"]
POOL = average_pool2d.CASES["2x2_stride2"]
DEPTHWISE = depthwise_conv2d.CASES["valid"]
DENSE = fully_connected.CASES["per_channel"]
Y_CONV = CONV.graph["y"]
FLOAT = Tensor(Y_CONV.shape, "float32")


def bias_of(shape: tuple[int, ...], dtype: Any = np.int32, value: int = 0) -> Tensor:
    return Tensor(shape, str(np.dtype(dtype)), None, np.full(shape, value, dtype))  # type: ignore[arg-type]


# case, changed tensors, changed attributes, message
REFUSED = {
    "float_output": (CONV, {"y": FLOAT}, {}, "conv2d 'y': 'y' is float32; this operator has an int8 form only"),
    "no_scale": (CONV, {"x": Tensor((1, 7, 9, 4), "int8")}, {}, "'x' needs one scale and zero point"),
    "rank": (CONV, {"x": activation(7, 9, 4)}, {}, r"'x' must have 4 dimensions, it has shape \(7, 9, 4\)"),
    "output_shape": (CONV, {"y": activation(1, 7, 8, 5)}, {}, r"output is \(1, 7, 8, 5\), but input \(1, 7, 9, 4\)"),
    "groups": (CONV, {"x": activation(1, 7, 9, 6)}, {}, r"6 input channels do not split into groups"),
    "stride": (CONV, {}, {"stride": (0, 1)}, r"stride \(0, 1\).* must be positive"),
    "pads": (CONV, {}, {"pads": (-1, 0, 0, 0)}, r"pads \(-1, 0, 0, 0\) not negative"),
    "window": (CONV, {}, {"dilation": (9, 1)}, "is larger than the padded input"),
    "weights_not_constant": (CONV, {"w": activation(5, 3, 3, 4)}, {}, "tensor 'w' must be a constant"),
    "weights_asymmetric": (CONV, {"w": constant(5, 3, 3, 4, zero=1)}, {}, "'w' must be symmetric"),
    "weights_axis": (CONV, {"w": weights(5, 3, 3, 4, axis=3)}, {}, "'w' need 1 or 5 scales along axis 0"),
    "bias_size": (CONV, {"b": bias_of((4,))}, {}, "bias 'b' must be a constant of 5 int32 values"),
    "bias_type": (CONV, {"b": bias_of((5,), np.int8)}, {}, "bias 'b' must be a constant of 5 int32 values"),
    "overflow": (CONV, {"b": bias_of((5,), value=2**31 - 1)}, {}, "the 32-bit accumulator can overflow"),
    "absurd_scale": (CONV, {"y": replace(Y_CONV, quant=Quant((1e-30,)))}, {}, "too large for 32-bit arithmetic"),
    "depthwise_weights": (DEPTHWISE, {"w": weights(1, 3, 3, 7, axis=3)}, {}, r"a multiple of 5 input channels"),
    "dense_shape": (DENSE, {"y": activation(1, 11)}, {}, r"weights \(10, 40\) do not turn input \(1, 40\) into"),
    "dense_input": (DENSE, {"x": activation(1, 41)}, {}, r"weights \(10, 40\) do not turn input \(1, 41\) into"),
    "pool_quant": (
        POOL,
        {"y": activation(1, 3, 4, 5, scale=0.06, zero=-5)},
        {},
        "must be quantised alike; insert a quantize",
    ),
    "pool_pads": (POOL, {}, {"pads": (2, 0, 0, 0)}, "leave windows of .* with nothing inside"),
    "pool_kernel": (POOL, {}, {"kernel": (0, 1)}, "leave windows of .* with nothing inside"),
    "add_shapes": (add.CASES["plain"], {"b": activation(1, 5, 4, 2)}, {}, "do not broadcast; make the axes equal or one"),
    "add_output": (add.CASES["scalar"], {"y": activation(1, 4, 5, 1)}, {}, r"broadcast to \(1, 4, 5, 6\)"),
    "add_constants": (add.CASES["plain"], {"a": constant(3), "b": constant(3), "y": activation(3)}, {}, "fold them"),
    "add_scale": (add.CASES["plain"], {"y": activation(1, 5, 4, 3, scale=1e-8)}, {}, "is too small for the inputs' scales"),
    "add_axes": (
        add.CASES["plain"],
        {"a": activation(2, 1, 2, 1, 2), "b": activation(1, 2, 1, 2, 1), "y": activation(2, 2, 2, 2, 2)},
        {},
        "alternate too often",
    ),
    "mean_axes": (mean.CASES["global"], {}, {"axes": (0, 1, 2)}, "at most 2 of 4 axes can be reduced"),
    "mean_no_axes": (mean.CASES["global"], {}, {"axes": ()}, "at most 2 of 4 axes can be reduced"),
    "mean_same_axes": (mean.CASES["global"], {}, {"axes": (1, 1)}, r"must be different and lie in 0\.\.3"),
    "mean_output": (mean.CASES["global"], {"y": activation(1, 5)}, {}, r"the mean of \(1, 5, 7, 6\) over axes \(1, 2\) is"),
    "reshape_size": (
        reshape.CASES["flatten"],
        {"y": activation(1, 61)},
        {},
        r"60 values .* do not fill the shape \(1, 61\)",
    ),
    "softmax_scale": (softmax.CASES["ten"], {"y": activation(1, 10)}, {}, "must have scale 1/256 and zero point -128"),
    "softmax_depth": (
        softmax.CASES["ten"],
        {"x": activation(1, 5000), "y": activation(1, 5000, scale=1 / 256, zero=-128)},
        {},
        "needs 1 to 4095 values along the last axis",
    ),
    "softmax_beta": (softmax.CASES["ten"], {}, {"beta": 1e-9}, "is too small to compute with"),
    "quantize_type": (
        quantize.CASES["finer"],
        {"x": Tensor((1, 256), "int32", Quant((1.0,)))},
        {},
        "must be float32, or int8 or uint8",
    ),
    "relu6_quant": (relu6.CASES["plain"], {"y": activation(1, 256)}, {}, "must be quantised alike"),
    "pad_widths": (pad.CASES["image"], {}, {"widths": ((0, 0), (1, 1))}, "one for each axis"),
    "pad_value": (pad.CASES["image"], {}, {"value": 300}, "fill value 300 is not an int8"),
    "pad_output": (pad.CASES["image"], {"y": activation(1, 6, 6, 3)}, {}, r"the inputs and attributes give \(1, 6, 7, 3\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    case, tensors, attributes, message = REFUSED[name]
    graph = case.graph
    ops = (replace(graph.ops[0], **attributes),)
    tensors = {**graph.tensors, **tensors}
    inputs = tuple(n for n in ops[0].inputs if tensors[n].data is None) or ("spare",)
    changed = replace(graph, tensors={**tensors, "spare": activation(1)}, ops=ops, inputs=inputs)
    with pytest.raises(GraphError, match=message):
        changed.checked()
