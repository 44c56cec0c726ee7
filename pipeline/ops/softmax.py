"""Softmax over the last axis, int8: TFLite's SOFTMAX."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import (
    clamp_int8,
    quantize_multiplier,
    rounding_divide_by_pot,
    saturating_rounding_doubling_high_mul,
    wrap_int32,
)
from pipeline.ir import Array, Graph, Op, Storage, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_int8, expect_shape
from pipeline.ops._gemmlowp import exp_on_negative_values, one_over_one_plus_x
from pipeline.ops._onnx import OnnxWriter

DIFF_INTEGER_BITS = 5  # of the scaled difference to the row's maximum, as it goes into exp
SUM_INTEGER_BITS = 12  # of the sum of exponentials: rows of more than 4095 equal values would overflow it
MAX_DEPTH = (1 << SUM_INTEGER_BITS) - 1


@dataclass(frozen=True, kw_only=True)
class Softmax(Op):
    """exp(beta * x) / sum exp(beta * x) along the last axis. inputs: x. The output's scale is 1/256, its zero point -128.

    A difference to the row's maximum has at most 256 values, so exp becomes a table (Q0, int32), bit-exact with TFLM's
    gemmlowp arithmetic; differences past its end count as exp 0 in the sum and give -128. Where a row's sum passes 512 times
    its largest term TFLM aborts; here every answer is then -128, which is what the arithmetic rounds to.
    """

    rounding = "function"

    beta: float = 1.0

    def check(self, graph: Graph) -> None:
        x, y = graph[self.inputs[0]], graph[self.output]
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_shape(self, graph, self.output, x.shape)
        if y.scale != 1 / 256 or y.zero_point != -128:
            raise self.fail(f"output must have scale 1/256 and zero point -128, has {y.scale:g} and {y.zero_point}")
        if not x.shape or not 1 <= x.shape[-1] <= MAX_DEPTH:
            raise self.fail(f"needs 1 to {MAX_DEPTH} values along the last axis, the input is {x.shape}")
        beta = float(np.float32(self.beta))
        if not math.isfinite(beta) or beta * x.scale * 2 ** (31 - DIFF_INTEGER_BITS) <= 1:
            raise self.fail(f"beta {self.beta:g} times the input scale {x.scale:g} is too small to compute with")

    def _exp_table(self, graph: Graph) -> Array:
        """int32 Q0 exp of each difference 0, -1, -2, ... that is not too small to count.

        Source: PreprocessSoftmaxScaling and CalculateInputRadius in quantization_util.cc.
        """
        beta = float(np.float32(self.beta))
        scale = min(beta * graph[self.inputs[0]].scale * 2 ** (31 - DIFF_INTEGER_BITS), 2**31 - 1.0)
        multiplier, shift = quantize_multiplier(scale)
        radius = math.floor(((1 << DIFF_INTEGER_BITS) - 1) * 2 ** (31 - DIFF_INTEGER_BITS) / 2**shift)
        diffs = -np.arange(min(radius, 255) + 1, dtype=np.int64)
        scaled = saturating_rounding_doubling_high_mul(wrap_int32(diffs << shift), multiplier)
        return exp_on_negative_values(scaled, DIFF_INTEGER_BITS).astype(np.int32)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        table = self._exp_table(graph)
        known = len(table)
        diff = args[0].max(axis=-1, keepdims=True).astype(np.int64) - args[0]
        exp = np.where(diff < known, np.append(table, 0)[np.minimum(diff, known)], 0).astype(np.int64)
        total = rounding_divide_by_pot(exp, SUM_INTEGER_BITS).sum(axis=-1, keepdims=True)
        headroom = 32 - np.frexp(total)[1].astype(np.int64)  # leading zeros of the 32-bit sum
        scale = one_over_one_plus_x((total << headroom) - (1 << 31))
        # The sum's integer bits beyond its leading zeros, and from Q0 down to 8 bits.
        exponent = SUM_INTEGER_BITS - headroom + 31 - 8
        y = rounding_divide_by_pot(saturating_rounding_doubling_high_mul(scale, exp), exponent) - 128
        return (np.where(diff < known, clamp_int8(y), np.int8(-128)),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x = graph[self.inputs[0]]
        table = self._exp_table(graph)
        params = {"rows": x.size // x.shape[-1], "depth": x.shape[-1], "exp_count": len(table), "exp": table}
        return (Kernel("softmax_s8", params, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        attributes = {"beta": float(self.beta)}
        return (TfliteNode("SOFTMAX", self.inputs, self.outputs, "SoftmaxOptions", attributes, version=2),)

    def storage(self, graph: Graph) -> Storage:
        return "in_place"

    def onnx(self, w: OnnxWriter) -> None:
        """beta goes into the scale that the input is dequantised with."""
        value = w.node("Softmax", [w.real(self.inputs[0], times=self.beta)], f"{self.output}/softmax", axis=-1)
        w.store(value, self.output)
