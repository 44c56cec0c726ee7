"""What MAXIMUM and MINIMUM share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline.ir import Array, Graph, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._broadcast import Binary
from pipeline.ops._checks import expect_same_quant


@dataclass(frozen=True, kw_only=True)
class Extremum(Binary):
    """inputs: a, b, quantised as the output is; one may be a constant."""

    largest: ClassVar[bool]

    def check(self, graph: Graph) -> None:
        super().check(graph)
        expect_same_quant(self, graph, *self.inputs, self.output)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        a, b = self.operands(graph, args)
        return ((np.maximum if self.largest else np.minimum)(a, b).astype(np.int8),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        params = {"loops": self.loop_params(graph), "largest": int(self.largest)}
        return (Kernel("extremum_s8", params, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        builtin = "MAXIMUM" if self.largest else "MINIMUM"
        return (TfliteNode(builtin, self.inputs, self.outputs, "MaximumMinimumOptions", version=2),)
