"""Subtraction with broadcasting, int8: TFLite's SUB."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ir import Array, Graph, Kernel, Op, Storage, TfliteNode
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation
from pipeline.ops._broadcast import broadcast_storage
from pipeline.ops._sum import check_sum, sum_kernel, sum_reference


@dataclass(frozen=True, kw_only=True)
class Sub(Op):
    """y = clamp(requantize(a' - b') + y_zero), a' and b' brought to one scale. inputs: a, b; one may be a constant."""

    activation: Activation = "none"

    def check(self, graph: Graph) -> None:
        check_sum(self, graph)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        return (sum_reference(self, graph, args, -1, self.activation),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        return (sum_kernel(self, graph, -1, self.activation),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        attributes = {"fusedActivationFunction": TFLITE_ACTIVATION[self.activation]}
        return (TfliteNode("SUB", self.inputs, self.outputs, "SubOptions", attributes, version=2),)

    def storage(self, graph: Graph) -> Storage:
        return broadcast_storage(self, graph)
