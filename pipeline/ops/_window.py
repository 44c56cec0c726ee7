"""What sliding-window operators (convolutions, pools) share: padding arithmetic and patch extraction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from pipeline.ir import Array, Op, Tensor, TfliteNode

Pads = tuple[int, int, int, int]  # top, bottom, left, right
Pair = tuple[int, int]  # height, width


def output_size(x: int, kernel: int, stride: int, dilation: int, pad_before: int, pad_after: int) -> int:
    return (x + pad_before + pad_after - (kernel - 1) * dilation - 1) // stride + 1


def spatial(t: Tensor) -> Pair:
    """(height, width) of an NHWC activation or OHWI weights."""
    return t.shape[1], t.shape[2]


def same_pads(x: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pads:
    """TensorFlow's SAME padding: output ceil(x / stride), the odd pixel at the bottom and right."""

    def along(i: int) -> Pair:
        out = -(-x[i] // stride[i])
        total = max(0, (out - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - x[i])
        return total // 2, total - total // 2

    (top, bottom), (left, right) = along(0), along(1)
    return top, bottom, left, right


def check_window(
    op: Op, x: Tensor, y: Tensor, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads, channels: int
) -> None:
    """Sane attributes, and an output (1, h, w, `channels`) that follows from them."""
    if min(*kernel, *stride, *dilation) < 1 or min(pads) < 0:
        raise op.fail(f"kernel {kernel}, stride {stride}, dilation {dilation} must be positive, pads {pads} not negative")
    if x.shape[0] != 1:
        raise op.fail(f"input {x.shape} is a batch of {x.shape[0]}; firmware takes one example at a time: export batch 1")
    want = (
        x.shape[0],
        output_size(x.shape[1], kernel[0], stride[0], dilation[0], *pads[:2]),
        output_size(x.shape[2], kernel[1], stride[1], dilation[1], *pads[2:]),
        channels,
    )
    if min(want) < 1:
        raise op.fail(f"kernel {kernel} with dilation {dilation} is larger than the padded input {x.shape}, pads {pads}")
    if y.shape != want:
        raise op.fail(f"output is {y.shape}, but input {x.shape}, kernel {kernel}, stride {stride}, pads {pads} give {want}")


def window_params(x: Tensor, y: Tensor, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads) -> dict[str, int]:
    """The fields of the C struct `nn_window`."""
    return {
        "x_h": x.shape[1], "x_w": x.shape[2], "x_c": x.shape[3],
        "k_h": kernel[0], "k_w": kernel[1],
        "y_h": y.shape[1], "y_w": y.shape[2], "y_c": y.shape[3],
        "stride_h": stride[0], "stride_w": stride[1],
        "dilation_h": dilation[0], "dilation_w": dilation[1],
        "pad_top": pads[0], "pad_left": pads[2],
    }  # fmt: skip


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
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
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


def explicit_pad(source: str, target: str, x: Tensor, pads: Pads, value: int | None = None) -> TfliteNode:
    """A PAD node for pads that TFLite's SAME and VALID can not express: fills with the zero point, or with `value`."""
    top, bottom, left, right = pads
    widths = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    shape = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
    return pad_node(source, widths, target, x, value, {target: Tensor(shape, "int8", x.quant)})


def pad_node(
    source: str, widths: Array, target: str, x: Tensor, value: int | None, temps: Mapping[str, Tensor] = MappingProxyType({})
) -> TfliteNode:
    """PAD, or PADV2 with a fill value, which TFLM wants to be quantised as the output is."""
    if value is None:
        return TfliteNode("PAD", (source, widths), (target,), "PadOptions", version=2, temps=temps)
    name = f"{target}/fill"
    fill = Tensor((1,), "int8", x.quant, np.array([value], np.int8))
    temps = {**temps, name: fill}
    return TfliteNode("PADV2", (source, widths, name), (target,), "PadV2Options", version=2, temps=temps)
