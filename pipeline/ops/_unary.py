"""Operators from one byte to one byte. All 256 answers are computed here, on the host; the firmware looks them up."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array, Graph, Op, Storage
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_int8, expect_shape


@dataclass(frozen=True, kw_only=True)
class Unary(Op):
    """y[i] = f(x[i]) over 8-bit values; a subclass gives f. inputs: x."""

    @abstractmethod
    def apply(self, graph: Graph, x: Array) -> Array:
        """int8 f(x) of int64 values x, any shape."""

    def check(self, graph: Graph) -> None:
        expect_int8(self, graph, *self.inputs, self.output)
        expect_shape(self, graph, self.output, graph[self.inputs[0]].shape)

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        return (self._table(graph)[args[0].view(np.uint8)],)

    def _table(self, graph: Graph) -> Array:
        """f of each byte 0..255 read in the input's dtype."""
        values = np.arange(256, dtype=np.uint8).view(graph[self.inputs[0]].dtype)
        return self.apply(graph, values.astype(np.int64)).astype(np.int8)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        params = {"count": graph[self.output].size, "table": self._table(graph)}
        return (Kernel("lookup_s8", params, self.inputs, self.outputs),)

    def storage(self, graph: Graph) -> Storage:
        return "in_place"
