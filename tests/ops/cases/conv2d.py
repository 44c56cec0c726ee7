"""CONV_2D."""

from dataclasses import replace

from case import Case, activation, bias, case, fitting_scale, telling_bias, weights

from pipeline.ops._window import output_size, same_pads
from pipeline.ops.conv2d import Conv2d


def conv(
    x, w, *, pads=(0, 0, 0, 0), same=False, zero=3, y_zero=-5, y_scale=None, per_channel=True, reach=3000, **attributes
) -> Case:
    """x (H, W, C), w (O, KH, KW, C / groups); reach: the largest bias, 0 for none."""
    tx = activation(1, *x, zero=zero)
    tw = weights(*w, axis=0 if per_channel else None)
    stride, dilation = attributes.get("stride", (1, 1)), attributes.get("dilation", (1, 1))
    if same:
        pads = same_pads(x[:2], w[1:3], stride, dilation)
    h, v = (output_size(x[i], w[i + 1], stride[i], dilation[i], *pads[2 * i : 2 * i + 2]) for i in (0, 1))
    scale = y_scale or fitting_scale(tx, tw, w[1] * w[2] * w[3])
    inputs = ("x", "w", "b") if reach else ("x", "w")
    op = Conv2d(inputs=inputs, outputs=("y",), pads=pads, **attributes)
    tensors = {"x": tx, "w": tw, "y": activation(1, h, v, w[0], scale=scale, zero=y_zero)}
    return case(op, **tensors, **({"b": bias(tx, tw, w[0], reach)} if reach else {}))


def telling(x_scale) -> Case:
    """One weight scale: the scales are multiplied in double."""
    x, w = activation(1, 1, 1, 1, scale=x_scale, zero=0), weights(30, 1, 1, 1, axis=None)
    y = activation(1, 1, 1, 30, scale=x_scale * 0.01 * 1e7, zero=0)
    tensors = {"x": x, "w": w, "b": telling_bias(x, w, y.scale), "y": y}
    return case(Conv2d(inputs=("x", "w", "b"), outputs=("y",)), **tensors)


def least_weights(row: Case) -> Case:
    """All weights of the first channel are -128, of the last 127: transformed, they reach their ends."""
    w = row.graph["w"]
    data = w.data.copy()
    data[0], data[-1] = -128, 127
    return replace(row, graph=replace(row.graph, tensors={**row.graph.tensors, "w": replace(w, data=data)}))


CASES = {
    "product_in_double": telling(0.0173),
    "1x1": conv((5, 4, 8), (6, 1, 1, 8)),
    "1x1_no_pair": conv((5, 5, 6), (5, 1, 1, 6)),  # neither fours of channels nor of outputs
    "1x1_odd_pixels": conv((3, 3, 12), (6, 1, 1, 12), reach=0),
    "1x1_one_pixel_two_outputs": conv((1, 1, 4), (2, 1, 1, 4), per_channel=False),
    "1x1_relu": conv((5, 5, 8), (8, 1, 1, 8), y_zero=-128, activation="relu"),
    "1x1_relu_above": conv((5, 4, 9), (7, 1, 1, 9), y_zero=-20, activation="relu"),
    "1x1_relu6": conv((3, 4, 12), (9, 1, 1, 12), y_zero=-128, activation="relu6", y_scale=0.05),
    "1x1_seventeen_values": conv((2, 3, 17), (4, 1, 1, 17), y_zero=-128, activation="relu"),
    "1x1_many_channels": conv((3, 3, 132), (6, 1, 1, 132), zero=-128, y_zero=-128, activation="relu"),
    "1x1_padded": conv((3, 4, 4), (4, 1, 1, 4), pads=(0, 1, 1, 0)),
    "1x1_groups": conv((3, 4, 8), (4, 1, 1, 4)),
    "1x1_zero_points_low": conv((4, 5, 8), (6, 1, 1, 8), zero=-128, y_zero=-128, activation="relu"),
    "1x1_zero_points_high": conv((4, 5, 8), (6, 1, 1, 8), zero=127, y_zero=127),
    "1x1_stride2": conv((5, 5, 4), (4, 1, 1, 4), stride=(2, 2)),
    "1x1_pixel": conv((1, 1, 16), (10, 1, 1, 16)),
    "3x3_relu": conv((7, 9, 4), (8, 3, 3, 4), same=True, zero=-128, y_zero=-128, activation="relu"),
    "3x3_relu_stem": conv((9, 7, 3), (6, 3, 3, 3), same=True, stride=(2, 2), zero=-9, y_zero=-128, activation="relu"),
    "3x3_relu_dilated": conv((9, 8, 5), (5, 3, 3, 5), dilation=(1, 2), same=True, zero=-128, y_zero=-128, activation="relu"),
    "3x3_valid": conv((7, 9, 3), (5, 3, 3, 3)),
    "3x3_same_odd": conv((7, 9, 4), (5, 3, 3, 4), same=True),
    "3x3_same_stride2_odd": conv((7, 9, 4), (5, 3, 3, 4), same=True, stride=(2, 2)),
    "3x3_same_stride2_even": conv((8, 6, 4), (5, 3, 3, 4), same=True, stride=(2, 2)),
    "stride_uneven": conv((9, 10, 3), (4, 3, 3, 3), stride=(3, 2)),
    "even_kernel_same": conv((6, 7, 3), (4, 4, 2, 3), same=True),
    "even_kernel_valid": conv((6, 7, 3), (4, 2, 4, 3)),
    "torch_pad1_stride2": conv((8, 8, 3), (4, 3, 3, 3), pads=(1, 1, 1, 1), stride=(2, 2)),
    "torch_pad2_of_3x3": conv((5, 6, 3), (4, 3, 3, 3), pads=(2, 2, 2, 2)),
    "pads_uneven": conv((5, 6, 3), (4, 3, 3, 3), pads=(0, 2, 1, 0)),
    "dilation_valid": conv((9, 9, 3), (4, 3, 3, 3), dilation=(2, 3)),
    "dilation_same": conv((9, 8, 4), (4, 3, 3, 4), dilation=(2, 2), same=True),
    "dilation_only_wide": conv((6, 9, 3), (4, 3, 3, 3), dilation=(1, 3), same=True),
    "dilation_only_high": conv((9, 6, 3), (4, 3, 3, 3), dilation=(3, 1), same=True),
    "groups_as_wide_as_output": conv((6, 5, 8), (4, 3, 3, 4), same=True),
    "groups": conv((6, 5, 8), (6, 3, 3, 4), same=True),
    "groups_of_one_channel": conv((6, 5, 4), (8, 3, 3, 1), same=True),
    "groups_dilation": conv((8, 8, 6), (6, 3, 3, 2), dilation=(2, 2), same=True),
    "groups_of_five_outputs": conv((6, 5, 4), (10, 3, 3, 2), same=True),  # four channels at a time, and one is left
    "stride_over_kernel": conv((9, 8, 3), (5, 2, 2, 3), stride=(3, 3)),
    "per_tensor": conv((6, 6, 4), (5, 3, 3, 4), per_channel=False),
    "one_output_channel": conv((6, 6, 4), (1, 3, 3, 4)),
    "no_bias": conv((6, 6, 4), (5, 3, 3, 4), reach=0, same=True),
    "zero_points_low": conv((6, 6, 4), (5, 3, 3, 4), zero=-128, y_zero=-128, same=True),
    "zero_points_high": conv((6, 6, 4), (5, 3, 3, 4), zero=127, y_zero=127, same=True),
    "zero_points_opposed": conv((6, 6, 4), (5, 3, 3, 4), zero=-128, y_zero=127, same=True),
    "relu": conv((6, 6, 4), (5, 3, 3, 4), activation="relu", same=True),
    "relu6": conv((6, 6, 4), (5, 3, 3, 4), activation="relu6", y_scale=0.05, y_zero=-128, same=True),
    "relu6_out_of_reach": conv((6, 6, 4), (5, 3, 3, 4), activation="relu6", y_scale=0.01, y_zero=100),
    "relu_n1_to_1": conv((6, 6, 4), (5, 3, 3, 4), activation="relu_n1_to_1", y_scale=0.02),
    "saturating": conv((6, 6, 4), (5, 3, 3, 4), y_scale=1e-3, same=True),
    "scaled_up": conv((4, 4, 2), (3, 1, 1, 2), y_scale=2e-5, reach=5),
    "all_but_zero": conv((6, 6, 4), (5, 3, 3, 4), y_scale=1e4),
    "large_bias": conv((6, 6, 4), (5, 3, 3, 4), reach=2**30),
    "many_channels": conv((3, 3, 64), (40, 3, 3, 64), same=True),
    "3x3_one_pixel": conv((1, 1, 5), (3, 3, 3, 5), same=True),
    "3x3_tiles_cut": conv((9, 14, 8), (2, 3, 3, 8), same=True, zero=-128, y_zero=-128, activation="relu"),
    "3x3_fewer_channels_out": conv((8, 8, 12), (6, 3, 3, 12), same=True, y_zero=-128, activation="relu"),
    "3x3_nine_fours": conv((5, 6, 33), (3, 3, 3, 33), same=True, y_zero=-128, activation="relu"),
    "3x3_least_weights": least_weights(conv((6, 5, 4), (4, 3, 3, 4), same=True, y_zero=-128, activation="relu")),
    "window_as_image": conv((4, 5, 3), (6, 4, 5, 3)),
    "window_over_image": conv((2, 2, 3), (4, 5, 5, 3), same=True),
    "one_row": conv((1, 20, 3), (4, 1, 5, 3), same=True, stride=(1, 2)),
}
