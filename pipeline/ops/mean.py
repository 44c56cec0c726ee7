"""Mean over some axes, int8: TFLite's MEAN; over height and width it is the global average pool."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import clamp_int8, keeps_order, quantize_multiplier, requantize
from pipeline.ir import Array, Graph, Op, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_int8
from pipeline.ops._onnx import TO_NHWC, OnnxWriter, reshaped

MAX_RANK, MAX_AXES = 4, 2  # of TFLM, in reduce_common.cc


@dataclass(frozen=True, kw_only=True)
class Mean(Op):
    """y = requantize(sum (x - x_zero)) + y_zero, the multiplier being scale x / (scale y * count). inputs: x.

    Unlike average_pool2d it rescales, and rounds twice. The reduced axes stay with size one if the output has x's rank.
    """

    rounding = "mean"

    axes: tuple[int, ...]

    def check(self, graph: Graph) -> None:
        x, y = graph[self.inputs[0]], graph[self.output]
        expect_int8(self, graph, self.inputs[0], self.output)
        if not self.axes or len(self.axes) > MAX_AXES or len(x.shape) > MAX_RANK:
            raise self.fail(f"reduces axes {self.axes} of {x.shape}; at most {MAX_AXES} of {MAX_RANK} axes can be reduced")
        if sorted(set(self.axes)) != sorted(self.axes) or not all(0 <= a < len(x.shape) for a in self.axes):
            raise self.fail(f"axes {self.axes} must be different and lie in 0..{len(x.shape) - 1}")
        kept = tuple(s for i, s in enumerate(x.shape) if i not in self.axes)
        ones = tuple(1 if i in self.axes else s for i, s in enumerate(x.shape))
        if y.shape not in (kept, ones):
            raise self.fail(f"output is {y.shape}, but the mean of {x.shape} over axes {self.axes} is {kept} or {ones}")
        self._requant(graph)

    def _requant(self, graph: Graph) -> tuple[int, int]:
        """(multiplier, shift) with the division by the count in them. Source: QuantizedMeanOrSum in TFLM's reduce.h."""
        x, y = graph[self.inputs[0]], graph[self.output]
        multiplier, shift = quantize_multiplier(x.scale / y.scale)
        count = self._count(graph)
        headroom = min(count.bit_length() - 1, 32, 31 + shift)
        return (multiplier << headroom) // count, shift - headroom

    def _count(self, graph: Graph) -> int:
        return math.prod(graph[self.inputs[0]].shape[a] for a in self.axes)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        x, y = graph[self.inputs[0]], graph[self.output]
        total = args[0].astype(np.int64).sum(axis=tuple(a + 1 for a in self.axes)) - x.zero_point * self._count(graph)
        return (clamp_int8(requantize(total, *self._requant(graph)) + y.zero_point).reshape(-1, *y.shape),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, y = graph[self.inputs[0]], graph[self.output]
        steps = [math.prod(x.shape[i + 1 :]) for i in range(len(x.shape))]
        kept = [(x.shape[i], steps[i]) for i in range(len(x.shape)) if i not in self.axes]
        reduced = [(x.shape[i], steps[i]) for i in sorted(self.axes)]
        kept, reduced = [(1, 0)] * (MAX_RANK - 1 - len(kept)) + kept, [(1, 0)] * (MAX_AXES - len(reduced)) + reduced
        multiplier, shift = self._requant(graph)
        params = {
            "kept": tuple(n for n, _ in kept), "kept_step": tuple(step for _, step in kept),
            "reduced": tuple(n for n, _ in reduced), "reduced_step": tuple(step for _, step in reduced),
            "x_zero_sum": x.zero_point * self._count(graph), "y_zero": y.zero_point,
            "multiplier": multiplier, "shift": shift,
        }  # fmt: skip
        return (Kernel("mean_s8", params, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        attributes = {"keepDims": len(graph[self.output].shape) == len(graph[self.inputs[0]].shape)}
        inputs = (self.inputs[0], np.array(self.axes, np.int32))
        return (TfliteNode("MEAN", inputs, self.outputs, "ReducerOptions", attributes, version=2),)

    def monotonic(self, graph: Graph) -> bool:
        x, count = graph[self.inputs[0]], self._count(graph)
        ends = count * (-128 - x.zero_point), count * (127 - x.zero_point)
        return len(x.shape) - 1 not in self.axes and keeps_order(*ends, self._requant(graph)[1])

    def onnx(self, w: OnnxWriter) -> None:
        x, y = w.graph[self.inputs[0]], w.graph[self.output]
        if len(x.shape) == 4 and set(self.axes) == {1, 2}:
            value = w.node("GlobalAveragePool", [w.real(self.inputs[0], "nchw")], f"{self.output}/mean")
            if len(y.shape) == 4:
                w.store(value, self.output, "nchw")
                return
            # Quantised before it is reshaped: ONNX Runtime fuses an operator with the quantise node right behind it.
            pooled = w.quantized(value, self.output, f"{self.output}/pooled")
            flat = w.node("Transpose", [pooled], f"{self.output}/pooled/nhwc", perm=TO_NHWC)
            w.keep(reshaped(w, flat, f"{self.output}/flat", y.shape), self.output)
            return
        keep = int(len(y.shape) == len(x.shape))
        value = w.node("ReduceMean", [w.real(self.inputs[0])], f"{self.output}/mean", axes=list(self.axes), keepdims=keep)
        w.store(value, self.output)
