"""TRANSPOSE_CONV."""

from case import Case, activation, bias, case, fitting_scale, weights

from pipeline.ops.transpose_conv import TransposeConv


def upconv(
    x, w, y=None, *, stride=(2, 2), crop=(0, 0), zero=3, y_zero=-5, y_scale=None, per_channel=True, reach=3000,
    **attributes,
) -> Case:  # fmt: skip
    """x (H, W, C), w (O, KH, KW, C), y (H, W) or all that is not cropped at the top and left; reach: the largest bias."""
    tx = activation(1, *x, zero=zero)
    tw = weights(*w, axis=0 if per_channel else None)
    h, v = y or ((x[i] - 1) * stride[i] + w[i + 1] - crop[i] for i in (0, 1))
    scale = y_scale or fitting_scale(tx, tw, max(1, w[1] * w[2] * w[3] // (stride[0] * stride[1])))
    inputs = ("x", "w", "b") if reach else ("x", "w")
    op = TransposeConv(inputs=inputs, outputs=("y",), stride=stride, crop=crop, **attributes)
    tensors = {"x": tx, "w": tw, "y": activation(1, h, v, w[0], scale=scale, zero=y_zero)}
    return case(op, **tensors, **({"b": bias(tx, tw, w[0], reach)} if reach else {}))


CASES = {
    "valid": upconv((4, 5, 3), (4, 3, 3, 3)),
    "valid_2x2": upconv((4, 5, 3), (4, 2, 2, 3)),
    "same": upconv((4, 5, 3), (4, 3, 3, 3), (8, 10)),
    "same_4x4": upconv((4, 5, 3), (4, 4, 4, 3), (8, 10), crop=(1, 1)),
    "same_stride1": upconv((4, 5, 3), (4, 3, 3, 3), (4, 5), stride=(1, 1), crop=(1, 1)),
    "same_5x5_odd": upconv((3, 3, 2), (3, 5, 5, 2), (5, 5), crop=(2, 2)),
    "torch_padding1": upconv((4, 5, 3), (4, 3, 3, 3), (7, 9), crop=(1, 1)),
    "torch_output_padding1": upconv((4, 5, 3), (4, 3, 3, 3), (8, 10), crop=(1, 1)),
    "torch_output_padding_only": upconv((4, 5, 3), (4, 2, 2, 3), (9, 11)),
    "stride3_of_2x2": upconv((3, 4, 3), (4, 2, 2, 3), (9, 12), stride=(3, 3)),
    "stride_uneven": upconv((3, 4, 3), (4, 3, 3, 3), stride=(1, 3)),
    "kernel_uneven": upconv((3, 4, 3), (4, 4, 2, 3), stride=(2, 3)),
    "crop_uneven": upconv((4, 5, 3), (4, 3, 4, 3), (7, 8), crop=(2, 1)),
    "1x1": upconv((3, 4, 3), (4, 1, 1, 3), (6, 8)),
    "one_pixel": upconv((1, 1, 6), (4, 4, 4, 6), stride=(1, 1)),
    "per_tensor": upconv((4, 5, 3), (4, 3, 3, 3), per_channel=False),
    "no_bias": upconv((4, 5, 3), (4, 3, 3, 3), reach=0),
    "no_bias_cropped": upconv((4, 5, 3), (4, 3, 3, 3), (7, 9), crop=(1, 1), reach=0),
    "zero_points_low": upconv((4, 5, 3), (4, 3, 3, 3), (8, 10), zero=-128, y_zero=-128),
    "zero_points_high": upconv((4, 5, 3), (4, 3, 3, 3), (8, 10), zero=127, y_zero=127),
    "relu": upconv((4, 5, 3), (4, 3, 3, 3), (8, 10), activation="relu"),
    "relu6_cropped": upconv((4, 5, 3), (4, 3, 3, 3), (7, 9), crop=(1, 1), activation="relu6", y_scale=0.04, y_zero=-128),
    "saturating": upconv((4, 5, 3), (4, 3, 3, 3), y_scale=1e-3),
    "large_bias": upconv((4, 5, 3), (4, 3, 3, 3), reach=2**30),
    "many_channels": upconv((2, 2, 32), (24, 3, 3, 32)),
}
