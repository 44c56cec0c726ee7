"""Every n-th value along each axis, also backwards: TFLite's STRIDED_SLICE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array, Graph, Op, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_axes, expect_int8, expect_same_quant, expect_shape
from pipeline.ops._copy import check_copies, copy_kernel, steps
from pipeline.ops._onnx import OnnxWriter, reshaped, sliced

MAX_RANK = 4  # of TFLM


@dataclass(frozen=True, kw_only=True)
class StridedSlice(Op):
    """Along axis i the values begin[i], begin[i] + strides[i], ... up to, not including, end[i]. inputs: x.

    All are counted from the front; -1 as `end` of a negative stride includes value 0. Axes in `shrink` have one value, and
    are left out of the output's shape.
    """

    rounding = "exact"

    begin: tuple[int, ...]
    end: tuple[int, ...]
    strides: tuple[int, ...]
    shrink: tuple[int, ...] = ()

    def check(self, graph: Graph) -> None:
        x = graph[self.inputs[0]]
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_same_quant(self, graph, self.inputs[0], self.output)
        expect_axes(self, graph, self.inputs[0])
        if not len(self.begin) == len(self.end) == len(self.strides) == len(x.shape) <= MAX_RANK:
            raise self.fail(
                f"begin {self.begin}, end {self.end} and strides {self.strides} need one index for each of the axes of "
                f"{x.shape}, of which there can be {MAX_RANK}"
            )
        for i, n in enumerate(x.shape):
            forward = self.strides[i] > 0
            if self.strides[i] == 0 or not 0 <= self.begin[i] < n or not (0 if forward else -1) <= self.end[i] <= n:
                raise self.fail(f"{self.begin[i]}:{self.end[i]}:{self.strides[i]} is no range along axis {i} of {x.shape}")
        counts = self._counts()
        if min(counts) < 1 or any(not 0 <= i < len(counts) or counts[i] != 1 for i in self.shrink):
            raise self.fail(
                f"begin {self.begin}, end {self.end} and strides {self.strides} leave {counts} values to {x.shape}"
            )
        expect_shape(self, graph, self.output, tuple(c for i, c in enumerate(counts) if i not in self.shrink))
        check_copies(self, graph)

    def _counts(self) -> tuple[int, ...]:
        return tuple(len(range(b, e, s)) for b, e, s in zip(self.begin, self.end, self.strides, strict=True))

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        y = args[0]
        for i, (b, e, s) in enumerate(zip(self.begin, self.end, self.strides, strict=True)):
            y = np.take(y, range(b, e, s), axis=i + 1)
        return (np.ascontiguousarray(y).reshape(len(y), *graph[self.output].shape),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x_steps, counts = steps(graph[self.inputs[0]].shape), self._counts()
        start = sum(b * step for b, step in zip(self.begin, x_steps, strict=True))
        strided = tuple(s * step for s, step in zip(self.strides, x_steps, strict=True))
        return (copy_kernel(self.inputs[0], self.output, counts, (strided, start), (steps(counts), 0)),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        # A negative `end` would be counted from the back: the mask says "to the very end" instead.
        attributes = {
            "endMask": sum(1 << i for i, e in enumerate(self.end) if e < 0),
            "shrinkAxisMask": sum(1 << i for i in self.shrink),
        }
        begin, end, strides = (np.array(v, np.int32) for v in (self.begin, self.end, self.strides))
        inputs = (self.inputs[0], begin, end, strides)
        return (TfliteNode("STRIDED_SLICE", inputs, self.outputs, "StridedSliceOptions", attributes, version=2),)

    def onnx(self, w: OnnxWriter) -> None:
        """ONNX counts a negative end from the back: beyond the front is where a negative stride includes value 0."""
        end = [e if e >= 0 else -n - 1 for e, n in zip(self.end, w.graph[self.inputs[0]].shape, strict=True)]
        value = sliced(w, self.inputs[0], self.output, list(self.begin), end, list(self.strides))
        shrunk = reshaped(w, value, f"{self.output}/shrunk", w.graph[self.output].shape) if self.shrink else value
        w.keep(shrunk, self.output)
