"""Values around a tensor: TFLite's PAD and PADV2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array, Graph, Op, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_axes, expect_int8, expect_same_quant, expect_shape
from pipeline.ops._onnx import TO_NCHW, OnnxWriter, common_layout
from pipeline.ops._window import pad_node

MAX_RANK = 4


@dataclass(frozen=True, kw_only=True)
class Pad(Op):
    """`widths` (before, after) per axis, filled with `value` (quantised) or, when None, with the zero point. inputs: x."""

    rounding = "exact"

    widths: tuple[tuple[int, int], ...]
    value: int | None = None

    def check(self, graph: Graph) -> None:
        x = graph[self.inputs[0]]
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_same_quant(self, graph, self.inputs[0], self.output)
        expect_axes(self, graph, self.inputs[0])
        if len(x.shape) > MAX_RANK or len(self.widths) != len(x.shape) or any(min(w) < 0 for w in self.widths):
            raise self.fail(
                f"widths {self.widths} must be pairs of 0 and more, one for each axis (at most {MAX_RANK}) of {x.shape}"
            )
        if self.value is not None and not -128 <= self.value <= 127:
            raise self.fail(f"fill value {self.value} is not an int8")
        expect_shape(self, graph, self.output, tuple(s + sum(w) for s, w in zip(x.shape, self.widths, strict=True)))

    def _fill(self, graph: Graph) -> int:
        return graph[self.output].zero_point if self.value is None else self.value

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        return (np.pad(args[0], ((0, 0), *self.widths), constant_values=self._fill(graph)),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        missing = MAX_RANK - len(self.widths)
        params = {
            "shape": (1,) * missing + graph[self.inputs[0]].shape,
            "before": (0,) * missing + tuple(b for b, _ in self.widths),
            "after": (0,) * missing + tuple(a for _, a in self.widths),
            "fill": self._fill(graph),
        }
        return (Kernel("pad_s8", params, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        widths = np.array(self.widths, np.int32)
        return (pad_node(self.inputs[0], widths, self.output, graph[self.output], self.value),)

    def monotonic(self, graph: Graph) -> bool:
        return True

    def onnx(self, w: OnnxWriter) -> None:
        x, layout = w.graph[self.inputs[0]], common_layout(self, w)
        widths = [self.widths[i] for i in TO_NCHW] if layout == "nchw" else list(self.widths)
        pads = np.array([b for b, _ in widths] + [a for _, a in widths], np.int64)
        fill = w.encode(x, np.array(x.zero_point if self.value is None else self.value, np.int8))
        names = [w.constant(f"{self.output}/pads", pads), w.constant(f"{self.output}/fill", fill)]
        value = w.node("Pad", [w.stored(self.inputs[0], layout), *names], f"{self.output}/padded")
        w.keep(value, self.output, layout)
