"""What sliding-window operators (convolutions, pools) share: padding arithmetic and patch extraction."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.ir import Array

Pads = tuple[int, int, int, int]  # top, bottom, left, right
Pair = tuple[int, int]  # height, width


def output_size(x: int, kernel: int, stride: int, dilation: int, pad_before: int, pad_after: int) -> int:
    return (x + pad_before + pad_after - (kernel - 1) * dilation - 1) // stride + 1


def same_pads(x: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pads:
    """TensorFlow's SAME padding: output ceil(x / stride), the odd pixel at the bottom and right."""

    def along(i: int) -> Pair:
        out = -(-x[i] // stride[i])
        total = max(0, (out - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - x[i])
        return total // 2, total - total // 2

    return (*along(0), *along(1))


def tflite_padding(x: Pair, y: Pair, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads) -> str | None:
    """ "SAME" or "VALID" where that gives exactly these pads, else None (an explicit PAD must come first).

    Bottom and right pads show only in the output size, so they need not be equal.
    """
    if y == tuple(-(-x[i] // stride[i]) for i in (0, 1)):
        same = same_pads(x, kernel, stride, dilation)
        if (pads[0], pads[2]) == (same[0], same[2]):
            return "SAME"
    valid = tuple(output_size(x[i], kernel[i], stride[i], dilation[i], 0, 0) for i in (0, 1))
    return "VALID" if y == valid and pads[0] == pads[2] == 0 else None


def windows(
    x: Array, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads, out: Pair, fill: int
) -> Iterator[tuple[int, int, Array]]:
    """For each kernel position (i, j): the (n, b, out_h, out_w, c) input values under it, `fill` outside the image."""
    top, bottom, left, right = pads
    need_h = (out[0] - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1 - top - x.shape[2]
    need_w = (out[1] - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1 - left - x.shape[3]
    grown = ((0, 0), (0, 0), (top, max(bottom, need_h, 0)), (left, max(right, need_w, 0)), (0, 0))
    padded = np.pad(x, grown, constant_values=fill)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top_i, left_j = i * dilation[0], j * dilation[1]
            yield (
                i,
                j,
                padded[
                    :,
                    :,
                    top_i : top_i + (out[0] - 1) * stride[0] + 1 : stride[0],
                    left_j : left_j + (out[1] - 1) * stride[1] + 1 : stride[1],
                    :,
                ],
            )
