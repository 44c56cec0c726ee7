"""What ADD and SUB share: both operands are brought to one scale, added with headroom, and rescaled to the output."""

from __future__ import annotations

from typing import Any, Literal

from pipeline.fixedpoint import clamp_int8, quantize_multiplier, requantize
from pipeline.ir import Array, Graph, Kernel, Op
from pipeline.ops._activation import Activation, clamp_range
from pipeline.ops._broadcast import broadcast_params, check_broadcast, operands

LEFT_SHIFT = 20  # bits of headroom: the operands keep 20 fraction bits until the sum is rescaled

Requant = tuple[int, int]
Sign = Literal[1, -1]  # of the second operand


def check_sum(op: Op, graph: Graph) -> None:
    check_broadcast(op, graph)
    a, b, y = (graph[n].scale for n in (*op.inputs, op.output))
    if 2 * max(a, b) >= 2**LEFT_SHIFT * y:
        raise op.fail(f"output scale {y:g} is too small for the inputs' scales {a:g} and {b:g}")
    _requants(op, graph)


def _requants(op: Op, graph: Graph) -> tuple[Requant, Requant, Requant]:
    """(multiplier, shift) of a, b and the sum. Source: CalculateOpDataAdd in TFLM's add_common.cc, and sub_common.cc."""
    a, b, y = (graph[n].scale for n in (*op.inputs, op.output))
    largest = 2 * max(a, b)
    to_a, to_b, to_y = map(quantize_multiplier, (a / largest, b / largest, largest / (2**LEFT_SHIFT * y)))
    return to_a, to_b, to_y


def sum_reference(op: Op, graph: Graph, args: tuple[Array, ...], b_sign: Sign, activation: Activation) -> Array:
    a, b, y = (graph[n] for n in (*op.inputs, op.output))
    to_a, to_b, to_y = _requants(op, graph)
    left, right = operands(op, graph, args)
    left = requantize((left - a.zero_point) << LEFT_SHIFT, *to_a)
    right = requantize((right - b.zero_point) << LEFT_SHIFT, *to_b)
    return clamp_int8(requantize(left + b_sign * right, *to_y) + y.zero_point, *clamp_range(activation, y))


def sum_kernel(op: Op, graph: Graph, b_sign: Sign, activation: Activation) -> Kernel:
    a, b, y = (graph[n] for n in (*op.inputs, op.output))
    to_a, to_b, to_y = _requants(op, graph)
    low, high = clamp_range(activation, y)
    params: dict[str, Any] = {
        "loops": broadcast_params(op, graph),
        "a_zero": a.zero_point, "a_multiplier": to_a[0], "a_shift": to_a[1],
        "b_zero": b.zero_point, "b_multiplier": to_b[0], "b_shift": to_b[1], "b_sign": b_sign,
        "y_zero": y.zero_point, "y_multiplier": to_y[0], "y_shift": to_y[1],
        "clamp_min": low, "clamp_max": high,
    }  # fmt: skip
    return Kernel("add_s8", params, op.inputs, op.outputs)
