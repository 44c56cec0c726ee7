"""Which of the operators' cases stand for the paths of the kernels."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

from pipeline.ir import Array, Graph

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ops"))  # the case tables import their vocabulary from there

# Rows of tests/ops/cases/<operator>.py.
KERNEL_CASES = {
    "add": ("plain", "uneven", "uneven_relu_above", "channels", "both_alternating"),
    "average_pool2d": ("2x2_stride2", "3x3_same", "global_large"),
    "concatenation": ("channels",),
    "conv2d": (
        "many_channels",  # where DSP instructions are, columns of two windows by four outputs; else four outputs at a time
        "one_output_channel",  # one at a time, the general way everywhere
        "3x3_same_odd",  # four, and one that is left; padded; an odd row
        "3x3_relu",  # constants proven instead of TFLM's formula
        "3x3_valid",  # runs that no four values fill
        "1x1",  # two pixels by four outputs
        "1x1_relu",
        "1x1_no_pair",  # neither fours of values nor of outputs, and an odd number of pixels
        "1x1_stride2",
        "dilation_same",  # a run for each column
        "groups",
        "groups_of_one_channel",
        "groups_of_five_outputs",
        "no_bias",
        "per_tensor",
    ),
    "depthwise_conv2d": (
        "many_channels",
        "same_odd",  # four channels, and one that is left; padded
        "one_channel",
        "multiplier2",
        "dilation_nine_channels",
        "large_kernel",
        "3x3_strips_even",  # two outputs a step, more rows than fit at once
        "3x3_strips_stride2",  # one output a step; the last four of six channels again
        "3x3_relu_inside_range",  # clamped afterwards
        "5x5_same",
        "5x5_odd_stride2",
        "row_of_three",
    ),
    "dequantize": ("plain",),
    "fully_connected": (
        "wide",  # four outputs at a time
        "beyond_float32",  # with weights too large for two in one number
        "one_output_per_channel",
        "odd_sizes",  # three outputs of seven values
        "six_outputs_of_nine",  # not by four, not by eight
        "rows",
        "no_bias",
        "per_channel",
    ),
    "lookup": ("silu",),
    "max_pool2d": ("2x2_stride2", "3x3_same"),
    "maximum": ("plain", "channels"),
    "mean": ("global", "channels"),
    "minimum": ("plain",),
    "mul": ("plain", "gate_of_channels"),
    "pad": ("image", "everywhere"),
    "prelu": ("channels", "each_its_own"),
    "quantize": ("real",),
    "resize_nearest_neighbor": ("twice", "many_channels"),
    "softmax": ("ten", "rows", "coarse"),
    "strided_slice": ("backwards",),
    "sub": ("plain",),
    "transpose": ("nhwc_to_nchw",),
    "transpose_conv": ("same", "torch_padding1", "many_channels"),
}


def kernel_cases() -> dict[str, Graph]:
    """Graphs of one operator by name, `<operator>/<row>`."""
    found = {}
    for operator, rows in KERNEL_CASES.items():
        table = importlib.import_module(f"cases.{operator}").CASES
        found.update({f"{operator}/{row}": replace(table[row].graph, name=f"{operator}/{row}").checked() for row in rows})
    return found


def random_example(graph: Graph) -> tuple[Array, ...]:
    """The first random vector of a case."""
    case = importlib.import_module("case")
    return tuple(x[10] for x in case.vectors(graph))
