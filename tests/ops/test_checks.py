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
    concatenation,
    conv2d,
    depthwise_conv2d,
    dequantize,
    fully_connected,
    hard_swish,
    leaky_relu,
    logistic,
    lookup,
    maximum,
    mean,
    mul,
    pad,
    prelu,
    quantize,
    relu6,
    reshape,
    resize_nearest_neighbor,
    slice,
    softmax,
    split,
    strided_slice,
    tanh,
    transpose,
    transpose_conv,
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
    "batch": (
        CONV,
        {"x": activation(2, 7, 9, 4), "y": activation(2, 7, 9, 5)},
        {},
        r"input \(2, 7, 9, 4\) is a batch of 2; firmware takes one example at a time",
    ),
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
    "pool_pads_at_the_side": (POOL, {}, {"pads": (0, 0, 2, 0)}, "leave windows of .* with nothing inside"),
    "pool_window": (POOL, {}, {"kernel": (POOL.graph["x"].shape[1] + POOL.graph.ops[0].stride[0], 1)}, "is larger than"),
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
    "mean_axis_beyond": (mean.CASES["global"], {}, {"axes": (1, 4)}, r"must be different and lie in 0\.\.3"),
    "mean_output": (mean.CASES["global"], {"y": activation(1, 5)}, {}, r"the mean of \(1, 5, 7, 6\) over axes \(1, 2\) is"),
    "reshape_size": (
        reshape.CASES["flatten"],
        {"y": activation(1, 61)},
        {},
        r"60 values .* do not fill the shape \(1, 61\)",
    ),
    "reshape_to_no_axes": (
        reshape.CASES["flatten"],
        {"x": activation(1, 1), "y": activation()},
        {},
        r"reshape 'y': 'y' has no axes, which the .tflite form of this operator can not say; keep one of size 1",
    ),
    "softmax_scale": (softmax.CASES["ten"], {"y": activation(1, 10)}, {}, "must have scale 1/256 and zero point -128"),
    "softmax_zero_point": (
        softmax.CASES["ten"],
        {"y": activation(1, 10, scale=1 / 256, zero=0)},
        {},
        "must have scale 1/256 and zero point -128",
    ),
    "softmax_only_zero_point": (
        softmax.CASES["ten"],
        {"y": activation(1, 10, zero=-128)},
        {},
        "must have scale 1/256 and zero point -128",
    ),
    "softmax_beta_just_too_small": (softmax.CASES["ten"], {"x": activation(1, 10, scale=0.75 / 2**26)}, {}, "is too small"),
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
    "pad_value_just_too_large": (pad.CASES["value"], {}, {"value": 128}, "fill value 128 is not an int8"),
    "pad_output": (pad.CASES["image"], {"y": activation(1, 6, 6, 3)}, {}, r"the inputs and attributes give \(1, 6, 7, 3\)"),
    "mul_scale": (mul.CASES["plain"], {"y": activation(1, 5, 4, 3, scale=1e-20)}, {}, "too large for 32-bit arithmetic"),
    "maximum_quant": (maximum.CASES["plain"], {"y": activation(1, 5, 4, 3, scale=0.1)}, {}, "must be quantised alike"),
    "prelu_shapes": (prelu.CASES["channels"], {"alpha": activation(7)}, {}, "do not broadcast"),
    "leaky_alpha": (leaky_relu.CASES["plain"], {}, {"alpha": float("nan")}, "alpha nan is not a finite number"),
    "leaky_scale": (leaky_relu.CASES["plain"], {}, {"alpha": 1e12}, "too large for 32-bit arithmetic"),
    "hard_swish_scale": (
        hard_swish.CASES["plain"],
        {"y": activation(1, 256, scale=1e-5)},
        {},
        "is too small for the input's",
    ),
    "hard_swish_scale_just_too_small": (
        hard_swish.CASES["plain"],
        {"x": activation(1, 256, scale=0.04 * 128 * 1.5), "y": activation(1, 256, scale=0.04)},
        {},
        "is too small for the input's",
    ),
    "logistic_output": (logistic.CASES["plain"], {"y": activation(1, 256)}, {}, "must have scale 1/256 and zero point -128"),
    "logistic_input": (logistic.CASES["plain"], {"x": activation(1, 256, scale=16)}, {}, "too large for 32-bit arithmetic"),
    "logistic_input_fine": (
        logistic.CASES["plain"],
        {"x": activation(1, 256, scale=3.7e-9)},
        {},
        "3.7e-09 is below 3.72529e-09",
    ),
    "tanh_input_fine": (
        tanh.CASES["plain"],
        {"x": activation(1, 256, scale=3.7e-9)},
        {},
        "where TFLM's arithmetic overflows",
    ),
    "tanh_output": (tanh.CASES["plain"], {"y": activation(1, 256)}, {}, "must have scale 1/128 and zero point 0"),
    "lookup_table": (lookup.CASES["silu"], {}, {"table": (1, 2, 3)}, "must have 256 int8 values"),
    "lookup_values": (lookup.CASES["silu"], {}, {"table": (128,) * 256}, "must have 256 int8 values"),
    "dequantize_output": (dequantize.CASES["plain"], {"y": activation(1, 256)}, {}, "output must be float32, it is int8"),
    "transpose_axes": (transpose.CASES["matrix"], {}, {"permutation": (0, 0)}, "must name each of the 2 axes"),
    "transpose_loops": (
        transpose.CASES["matrix"],
        {"x": activation(2, 3, 4, 5, 6), "y": activation(6, 5, 4, 3, 2)},
        {"permutation": (4, 3, 2, 1, 0)},
        "takes more than 4 loops; reshape it",
    ),
    "concatenation_axis": (concatenation.CASES["vectors"], {}, {"axis": 2}, r"axis 2 does not exist in \(1, 7\)"),
    "concatenation_shapes": (concatenation.CASES["vectors"], {"x1": activation(2, 3)}, {}, "must be equal but for axis 1"),
    "concatenation_ranks": (concatenation.CASES["vectors"], {"x1": activation(3)}, {}, "must be equal but for axis 1"),
    "concatenation_quant": (concatenation.CASES["vectors"], {"x1": activation(1, 3, zero=4)}, {}, "must be quantised alike"),
    "split_axis": (split.CASES["channels"], {}, {"axis": 4}, "axis 4 does not exist"),
    "split_part": (split.CASES["channels"], {"y0": activation(1, 3, 5, 3)}, {}, r"'y0' is \(1, 3, 5, 3\)"),
    "split_sum": (split.CASES["channels"], {"y0": activation(1, 3, 4, 4)}, {}, r"parts of \[4, 3\] do not make up axis 3"),
    "slice_begin": (slice.CASES["vector"], {}, {"begin": (0,)}, "needs one index for each axis"),
    "slice_outside": (slice.CASES["vector"], {}, {"begin": (0, 6)}, r"reach outside the input \(1, 9\)"),
    "slice_negative": (slice.CASES["vector"], {}, {"begin": (0, -1)}, r"reach outside the input \(1, 9\)"),
    "slice_rank": (slice.CASES["vector"], {"y": activation(4)}, {}, "'y' must have 2 dimensions"),
    "strided_ranks": (strided_slice.CASES["rank1"], {}, {"begin": (0, 0)}, "need one index for each of the axes"),
    "strided_rank": (
        strided_slice.CASES["rank1"],
        {"x": activation(1, 1, 1, 1, 9), "y": activation(1, 1, 1, 1, 9)},
        {"begin": (0,) * 5, "end": (1, 1, 1, 1, 9), "strides": (1,) * 5},
        "of which there can be 4",
    ),
    "strided_zero": (strided_slice.CASES["rank1"], {}, {"strides": (0,)}, "2:9:0 is no range along axis 0"),
    "strided_outside": (strided_slice.CASES["rank1"], {}, {"end": (10,)}, "2:10:3 is no range along axis 0"),
    "strided_nothing": (strided_slice.CASES["rank1"], {}, {"end": (2,)}, r"leave \(0,\) values"),
    "strided_shrink": (strided_slice.CASES["rank1"], {}, {"shrink": (0,)}, r"leave \(3,\) values"),
    "strided_output": (strided_slice.CASES["rank1"], {"y": activation(4)}, {}, r"the inputs and attributes give \(3,\)"),
    "resize_both": (
        resize_nearest_neighbor.CASES["twice"],
        {},
        {"align_corners": True, "half_pixel_centers": True},
        "exclude each other",
    ),
    "resize_channels": (resize_nearest_neighbor.CASES["twice"], {"y": activation(1, 6, 8, 4)}, {}, r"give \(1, 6, 8, 3\)"),
    "resize_batch": (
        resize_nearest_neighbor.CASES["twice"],
        {"x": activation(2, 3, 4, 3), "y": activation(2, 6, 8, 3)},
        {},
        "resizes one image",
    ),
    "transpose_conv_crop": (transpose_conv.CASES["valid"], {}, {"crop": (-1, 0)}, "must be positive, crop .* not negative"),
    "transpose_conv_channels": (transpose_conv.CASES["valid"], {"x": activation(1, 4, 5, 2)}, {}, "do not turn input"),
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


NO_AXES = {
    "pad": (pad.CASES["image"], {"widths": ()}),
    "slice": (slice.CASES["vector"], {"begin": ()}),
    "strided_slice": (strided_slice.CASES["rank1"], {"begin": (), "end": (), "strides": ()}),
    "transpose": (transpose.CASES["matrix"], {"permutation": ()}),
}


@pytest.mark.parametrize("name", NO_AXES)
def test_what_goes_along_axes_refuses_a_value_without(name: str) -> None:
    case, attributes = NO_AXES[name]
    graph = replace(case.graph, tensors={"x": activation(), "y": activation()})
    with pytest.raises(GraphError, match=f"{name} 'y': 'x' has no axes"):
        replace(graph.ops[0], **attributes).check(graph)
