"""The larger of two values with broadcasting, int8: TFLite's MAXIMUM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array, Graph, Kernel, Op, Storage, TfliteNode
from pipeline.ops._broadcast import broadcast_params, broadcast_storage, check_broadcast, operands
from pipeline.ops._checks import expect_same_quant


@dataclass(frozen=True, kw_only=True)
class Maximum(Op):
    """inputs: a, b, quantised as the output is; one may be a constant."""

    def check(self, graph: Graph) -> None:
        check_broadcast(self, graph)
        expect_same_quant(self, graph, *self.inputs, self.output)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        a, b = operands(self, graph, args)
        return (np.maximum(a, b).astype(np.int8),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        return (Kernel("maximum_s8", {"loops": broadcast_params(self, graph)}, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        return (TfliteNode("MAXIMUM", self.inputs, self.outputs, "MaximumMinimumOptions", version=2),)

    def storage(self, graph: Graph) -> Storage:
        return broadcast_storage(self, graph)
