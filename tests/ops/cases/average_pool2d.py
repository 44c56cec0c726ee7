"""AVERAGE_POOL_2D."""

from case import Case, activation, case

from pipeline.ops._window import output_size, same_pads
from pipeline.ops.average_pool2d import AveragePool2d


def pool(
    x, kernel, *, op=AveragePool2d, pads=(0, 0, 0, 0), same=False, zero=-5, scale=0.05, not_in_tflite="", **attributes
) -> Case:
    """x (H, W, C)."""
    stride = attributes.get("stride", (1, 1))
    if same:
        pads = same_pads(x[:2], kernel, stride)
    h, v = (output_size(x[i], kernel[i], stride[i], 1, *pads[2 * i : 2 * i + 2]) for i in (0, 1))
    return case(
        op(inputs=("x",), outputs=("y",), kernel=kernel, pads=pads, **attributes),
        not_in_tflite,
        x=activation(1, *x, scale=scale, zero=zero),
        y=activation(1, h, v, x[2], scale=scale, zero=zero),
    )


CASES = {
    "2x2_stride2": pool((6, 8, 5), (2, 2), stride=(2, 2)),
    "2x2_stride2_odd": pool((7, 9, 5), (2, 2), stride=(2, 2)),
    "2x2_stride2_odd_same": pool((7, 9, 5), (2, 2), stride=(2, 2), same=True),
    "3x3_same": pool((7, 6, 4), (3, 3), same=True),
    "3x3_stride2_same": pool((7, 6, 4), (3, 3), stride=(2, 2), same=True),
    "overlapping": pool((7, 6, 4), (3, 3)),
    "uneven": pool((8, 9, 3), (4, 1), stride=(3, 2)),
    "global": pool((5, 7, 6), (5, 7)),
    "global_large": pool((16, 16, 3), (16, 16)),
    "1x1": pool((4, 4, 3), (1, 1)),
    "1x1_stride2": pool((5, 4, 3), (1, 1), stride=(2, 2)),
    "even_kernel_same": pool((7, 5, 3), (4, 2), same=True),
    "relu": pool((6, 6, 4), (2, 2), activation="relu"),
    "relu6": pool((6, 6, 4), (2, 2), activation="relu6", zero=-100),
    "zero_point_low": pool((6, 6, 4), (2, 2), zero=-128),
    "zero_point_high": pool((6, 6, 4), (2, 2), zero=127),
    "many_channels": pool((4, 4, 70), (2, 2), stride=(2, 2)),
    "window_over_image": pool((2, 3, 3), (5, 5), same=True),
    "torch_pads": pool((6, 6, 4), (3, 3), pads=(1, 1, 1, 1), stride=(2, 2), not_in_tflite="neither TFLite's SAME nor VALID"),
    "ceil_mode": pool((6, 6, 4), (3, 3), pads=(0, 1, 0, 1), stride=(2, 2)),
}
