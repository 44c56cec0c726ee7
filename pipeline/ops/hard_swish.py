"""x * relu6(x + 3) / 6, int8: TFLite's HARD_SWISH."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8, quantize_multiplier, rounding_divide_by_pot
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.ops._onnx import OnnxWriter, elementwise
from pipeline.ops._unary import Unary

INT16_MIN, INT16_MAX = -(2**15), 2**15 - 1


@dataclass(frozen=True, kw_only=True)
class HardSwish(Unary):
    """In TFLite's 16-bit fixed-point arithmetic, roundings and saturations included. inputs: x."""

    rounding = "function"

    def check(self, graph: Graph) -> None:
        super().check(graph)
        to_y, _ = self._requants(graph)
        if to_y[1] > 0:
            x, y = graph[self.inputs[0]], graph[self.output]
            raise self.fail(f"output scale {y.scale:g} is too small for the input's scale {x.scale:g}")

    def _requants(self, graph: Graph) -> tuple[tuple[int, int], tuple[int, int]]:
        """(16-bit multiplier, shift) to the output's scale, and to the scale where 3 is 2**15. Source: HardSwishPrepare in
        TFLM's hard_swish_common.cc, which computes in float32."""
        f32 = np.float32
        x = f32(1 / 128) * f32(graph[self.inputs[0]].scale)
        y, reluish = f32(graph[self.output].scale), f32(3) / f32(32768)
        return _multiplier16(float(x / y)), _multiplier16(float(x / reluish))

    def apply(self, graph: Graph, x: Array) -> Array:
        """Source: HardSwish in TFLite's reference/hard_swish.h; its comments say why each step is as it is."""
        (to_y, y_shift), (to_reluish, shift) = self._requants(graph)
        hires = (x - graph[self.inputs[0]].zero_point) << 7
        on_y_scale = _high_mul_16(hires, to_y)
        reluish = hires if shift <= 0 else _shift_left_16(hires, shift - 1)
        reluish = _high_mul_16(reluish, to_reluish)
        reluish = _shift_left_16(reluish, 1) if shift > 0 else rounding_divide_by_pot(reluish, -shift)
        reluish = (reluish + (1 << 15)) >> 1  # from [-1, 1] to [0, 1]
        product = reluish * on_y_scale
        product = np.sign(product) * (np.abs(product) >> 15)  # towards zero, to cancel the biases of the roundings above
        return clamp_int8(rounding_divide_by_pot(product, -y_shift) + graph[self.output].zero_point)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return (TfliteNode("HARD_SWISH", self.inputs, self.outputs, version=1),)

    def onnx(self, w: OnnxWriter) -> None:
        elementwise(self, w, "HardSwish")


def _multiplier16(real: float) -> tuple[int, int]:
    """Source: DownScaleInt32ToInt16Multiplier in TFLite's common.h."""
    multiplier, shift = quantize_multiplier(real)
    return min((multiplier + (1 << 15)) >> 16, INT16_MAX), shift


def _high_mul_16(a: Array, b: int) -> Array:
    """gemmlowp's SaturatingRoundingDoublingHighMul of int16; b is never INT16_MIN."""
    return (a * b + (1 << 14)) >> 15


def _shift_left_16(a: Array, bits: int) -> Array:
    return np.asarray(np.clip(a << bits, INT16_MIN, INT16_MAX))
