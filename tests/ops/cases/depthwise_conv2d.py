"""DEPTHWISE_CONV_2D."""

from case import Case, activation, bias, case, fitting_scale, weights

from pipeline.ops._window import output_size, same_pads
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d


def depthwise(
    x, kernel=(3, 3), *, m=1, pads=(0, 0, 0, 0), same=False, zero=3, y_zero=-5, y_scale=None, per_channel=True, reach=3000,
    **attributes,
) -> Case:  # fmt: skip
    """x (H, W, C), m: depth multiplier; reach: the largest bias, 0 for none."""
    channels = x[2] * m
    tx = activation(1, *x, zero=zero)
    tw = weights(1, *kernel, channels, axis=3 if per_channel else None)
    stride, dilation = attributes.get("stride", (1, 1)), attributes.get("dilation", (1, 1))
    if same:
        pads = same_pads(x[:2], kernel, stride, dilation)
    h, v = (output_size(x[i], kernel[i], stride[i], dilation[i], *pads[2 * i : 2 * i + 2]) for i in (0, 1))
    scale = y_scale or fitting_scale(tx, tw, kernel[0] * kernel[1])
    inputs = ("x", "w", "b") if reach else ("x", "w")
    op = DepthwiseConv2d(inputs=inputs, outputs=("y",), pads=pads, **attributes)
    tensors = {"x": tx, "w": tw, "y": activation(1, h, v, channels, scale=scale, zero=y_zero)}
    return case(op, **tensors, **({"b": bias(tx, tw, channels, reach)} if reach else {}))


CASES = {
    "valid": depthwise((7, 9, 5)),
    "same_odd": depthwise((7, 9, 5), same=True),
    "same_stride2_odd": depthwise((7, 9, 5), same=True, stride=(2, 2)),
    "same_stride2_even": depthwise((8, 6, 5), same=True, stride=(2, 2)),
    "stride_uneven": depthwise((8, 9, 3), stride=(1, 3)),
    "multiplier2": depthwise((6, 5, 3), m=2, same=True),
    "multiplier3_stride2": depthwise((6, 5, 4), m=3, same=True, stride=(2, 2)),
    "one_channel_multiplier8": depthwise((6, 7, 1), m=8, same=True),
    "one_channel": depthwise((6, 7, 1)),
    "even_kernel_same": depthwise((6, 7, 4), (4, 2), same=True),
    "even_kernel_valid": depthwise((6, 7, 5), (2, 4)),
    "1x1": depthwise((4, 5, 6), (1, 1)),
    "1x1_stride2": depthwise((5, 5, 6), (1, 1), stride=(2, 2)),
    "torch_pad1_stride2": depthwise((8, 8, 4), pads=(1, 1, 1, 1), stride=(2, 2)),
    "pads_uneven": depthwise((5, 6, 3), pads=(0, 2, 1, 0)),
    "dilation_valid": depthwise((9, 9, 3), dilation=(2, 3)),
    "dilation_nine_channels": depthwise((9, 8, 9), dilation=(2, 3), same=True),
    "dilation_only_wide": depthwise((6, 9, 3), dilation=(1, 3), same=True),
    "dilation_only_high": depthwise((9, 6, 3), dilation=(3, 1), same=True),
    "dilation_same_multiplier2": depthwise((9, 8, 3), dilation=(2, 2), same=True, m=2),
    "per_tensor": depthwise((6, 6, 4), per_channel=False),
    "no_bias": depthwise((6, 6, 4), reach=0, same=True),
    "zero_points_low": depthwise((6, 6, 4), zero=-128, y_zero=-128, same=True),
    "zero_points_high": depthwise((6, 6, 4), zero=127, y_zero=127, same=True),
    "zero_points_opposed": depthwise((6, 6, 4), zero=127, y_zero=-128, same=True),
    "relu": depthwise((6, 6, 4), activation="relu", same=True),
    "relu6": depthwise((6, 6, 4), activation="relu6", y_scale=0.04, y_zero=-128, same=True),
    "relu_n1_to_1": depthwise((6, 6, 4), activation="relu_n1_to_1", y_scale=0.02),
    "scaled_up": depthwise((4, 4, 5), (1, 1), y_scale=2e-5, reach=5),
    "saturating": depthwise((6, 6, 4), y_scale=1e-3, same=True),
    "large_bias": depthwise((6, 6, 4), reach=2**30),
    "many_channels": depthwise((4, 4, 64), same=True),
    "large_kernel": depthwise((10, 10, 4), (10, 4), stride=(2, 2), same=True),
    "3x3_one_pixel": depthwise((1, 1, 4), same=True),
    "3x3_one_column": depthwise((9, 1, 4), same=True),
    "3x3_strips_even": depthwise((15, 8, 8), same=True),
    "3x3_strips_odd": depthwise((14, 7, 7), same=True),
    "3x3_strips_stride2": depthwise((15, 9, 6), same=True, stride=(2, 2)),
    "3x3_strips_stride2_even": depthwise((14, 8, 4), same=True, stride=(2, 2)),
    "3x3_strips_valid": depthwise((16, 9, 5), stride=(2, 2)),
    "3x3_stride_high": depthwise((9, 9, 5), same=True, stride=(2, 1)),
    "3x3_stride_wide": depthwise((9, 9, 5), same=True, stride=(1, 2)),
    "3x3_pads_two": depthwise((7, 6, 5), pads=(2, 2, 2, 2), zero=-128),
    "3x3_pads_two_stride2": depthwise((7, 6, 5), pads=(2, 2, 2, 2), zero=127, stride=(2, 2)),
    "3x3_pads_top_left": depthwise((7, 6, 5), pads=(2, 0, 1, 0)),
    "3x3_pads_bottom_right": depthwise((7, 6, 5), pads=(0, 2, 0, 1)),
    "3x3_pads_beyond": depthwise((2, 2, 4), pads=(5, 4, 3, 6), stride=(2, 2)),
    "3x3_relu_inside_range": depthwise((13, 6, 6), activation="relu", y_zero=-20, same=True),
    "3x3_relu_n1_to_1": depthwise((13, 5, 6), activation="relu_n1_to_1", y_scale=0.02, stride=(2, 2)),
    "3x3_per_tensor": depthwise((6, 6, 9), per_channel=False, same=True, y_zero=127),
    "5x5_same": depthwise((11, 8, 8), (5, 5), same=True),
    "5x5_odd_stride2": depthwise((13, 9, 6), (5, 5), same=True, stride=(2, 2)),
    "5x5_valid_low": depthwise((10, 9, 5), (5, 5), zero=-128, y_zero=-128),
    "5x5_pads_beyond": depthwise((3, 2, 4), (5, 5), pads=(5, 4, 3, 6), zero=127),
    "5x5_relu_inside_range": depthwise((9, 6, 6), (5, 5), activation="relu", y_zero=-20, same=True),
    "4x4_stride2": depthwise((11, 10, 4), (4, 4), stride=(2, 2)),
    "column_of_five": depthwise((12, 5, 4), (5, 1), same=True),
    "column_of_three_stride2": depthwise((19, 4, 8), (3, 1), same=True, stride=(2, 1)),
    "row_of_five": depthwise((9, 12, 4), (1, 5), same=True),
    "row_of_three": depthwise((1, 33, 7), (1, 3), same=True, stride=(1, 2)),
    "2x2_stride2": depthwise((18, 8, 4), (2, 2), stride=(2, 2)),
    "window_over_image": depthwise((2, 2, 3), (5, 5), same=True),
}
