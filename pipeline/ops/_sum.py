"""What ADD and SUB share: both operands are brought to one scale, added with headroom, and rescaled to the output."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from pipeline.fixedpoint import clamp_int8, quantize_multiplier, requantize
from pipeline.ir import Array, Graph, TfliteNode
from pipeline.kernel import Kernel, Variant
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation, clamp_range
from pipeline.ops._broadcast import Binary
from pipeline.requantization import fit_plane

LEFT_SHIFT = 20  # bits of headroom: the operands keep 20 fraction bits until the sum is rescaled

Requant = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Sum(Binary):
    """y = clamp(requantize(a' + b_sign * b') + y_zero), a' and b' brought to one scale. inputs: a, b."""

    b_sign: ClassVar[Literal[1, -1]]

    activation: Activation = "none"

    def check(self, graph: Graph) -> None:
        super().check(graph)
        a, b, y = (graph[n].scale for n in (*self.inputs, self.output))
        if 2 * max(a, b) >= 2**LEFT_SHIFT * y:
            raise self.fail(f"output scale {y:g} is too small for the inputs' scales {a:g} and {b:g}")
        self._requants(graph)

    def _requants(self, graph: Graph) -> tuple[Requant, Requant, Requant]:
        """(multiplier, shift) of a, b and the sum. Source: CalculateOpDataAdd in TFLM's add_common.cc, and sub_common.cc."""
        a, b, y = (graph[n].scale for n in (*self.inputs, self.output))
        largest = 2 * max(a, b)
        to_a, to_b, to_y = map(quantize_multiplier, (a / largest, b / largest, largest / (2**LEFT_SHIFT * y)))
        return to_a, to_b, to_y

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        return (self._answers(graph, *self.operands(graph, args)),)

    def _answers(self, graph: Graph, left: Array, right: Array) -> Array:
        """int8 of int64 operands that broadcast to each other."""
        a, b, y = (graph[n] for n in (*self.inputs, self.output))
        to_a, to_b, to_y = self._requants(graph)
        left = requantize((left - a.zero_point) << LEFT_SHIFT, *to_a)
        right = requantize((right - b.zero_point) << LEFT_SHIFT, *to_b)
        total = requantize(left + self.b_sign * right, *to_y) + y.zero_point
        return clamp_int8(total, *clamp_range(self.activation, y))

    def variants(self, graph: Graph) -> tuple[Variant, ...]:
        """Costs are fitted to the networks of tests/counts, on a Cortex-M4."""
        count = graph[self.output].size
        return (self.general(graph, cost=71 * count), self._dense(graph, cost=60 + 33 * count // 4))

    def _dense(self, graph: Graph, cost: int) -> Variant:
        """Operands of one shape, by constants that give the same answer for all 65,536 pairs of values."""
        name = "add_s8_dense"
        a, b, y = (graph[n] for n in (*self.inputs, self.output))
        if a.size != y.size or b.size != y.size:
            return Variant(name, (), refused="an operand is broadcast")
        clamp = clamp_range(self.activation, y)
        values = np.arange(-128, 128, dtype=np.int64)
        answers = self._answers(graph, values[:, None], values[None, :]).astype(np.int64)
        plane = fit_plane(answers, (a.scale / y.scale, self.b_sign * b.scale / y.scale), clamp)
        if plane is None:
            return Variant(name, (), refused="no constants give its answers in one rounding")
        params = {"count": y.size, **asdict(plane), "clamp_min": clamp[0], "clamp_max": clamp[1]}
        return Variant(
            name,
            (Kernel(name, params, self.inputs, self.outputs),),
            cost,
            over={0: (None, 0), 1: (None, 0)},
            cycles_each=1.09,
        )

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        a, b, y = (graph[n] for n in (*self.inputs, self.output))
        to_a, to_b, to_y = self._requants(graph)
        low, high = clamp_range(self.activation, y)
        params: dict[str, Any] = {
            "loops": self.loop_params(graph),
            "a_zero": a.zero_point, "a_multiplier": to_a[0], "a_shift": to_a[1],
            "b_zero": b.zero_point, "b_multiplier": to_b[0], "b_shift": to_b[1], "b_sign": self.b_sign,
            "y_zero": y.zero_point, "y_multiplier": to_y[0], "y_shift": to_y[1],
            "clamp_min": low, "clamp_max": high,
        }  # fmt: skip
        return (Kernel("add_s8", params, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        builtin, options = ("ADD", "AddOptions") if self.b_sign > 0 else ("SUB", "SubOptions")
        attributes = {"fusedActivationFunction": TFLITE_ACTIVATION[self.activation]}
        return (TfliteNode(builtin, self.inputs, self.outputs, options, attributes, version=2),)
