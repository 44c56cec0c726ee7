"""What the pooling operators share."""

from __future__ import annotations

from typing import Any

from pipeline.ir import Graph, Op, Storage
from pipeline.ops._checks import expect_int8, expect_rank, expect_same_quant
from pipeline.ops._window import Pads, Pair, check_window

SCALE_TOLERANCE = 1e-6  # TFLM's, in pooling_common.cc


def check_pool(op: Op, graph: Graph, kernel: Pair, stride: Pair, pads: Pads) -> None:
    x, y = graph[op.inputs[0]], graph[op.output]
    expect_int8(op, graph, op.inputs[0], op.output)
    expect_rank(op, graph, 4, op.inputs[0], op.output)
    expect_same_quant(op, graph, op.inputs[0], op.output, scale_tolerance=SCALE_TOLERANCE)
    if max(pads[:2]) >= kernel[0] or max(pads[2:]) >= kernel[1]:
        raise op.fail(f"pads {pads} leave windows of {kernel} with nothing inside the image; they must be smaller")
    check_window(op, x, y, kernel, stride, (1, 1), pads, x.shape[3])


def pool_attributes(kernel: Pair, stride: Pair, padding: str, activation: str) -> dict[str, Any]:
    return {
        "padding": padding,
        "strideH": stride[0], "strideW": stride[1],
        "filterHeight": kernel[0], "filterWidth": kernel[1],
        "fusedActivationFunction": activation,
    }  # fmt: skip


def pool_storage(pads: Pads) -> Storage:
    """Without padding above or to the left, no window starts before the place its result is written to: results may
    overwrite the input as they come."""
    return "in_place" if pads[0] == pads[2] == 0 else "new"
