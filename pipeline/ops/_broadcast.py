"""What the operators with two operands share: numpy's broadcasting, as loops over at most four axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.ir import Array, Graph, Op, Storage
from pipeline.ops._checks import expect_int8

LOOPS = 4
Ints = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Binary(Op):
    """Two operands, broadcast to the output's shape. inputs: a, b; one may be a constant."""

    def check(self, graph: Graph) -> None:
        """Two int8 operands whose shapes broadcast to the output's, at least one of them an activation."""
        a, b, y = (graph[n] for n in (*self.inputs, self.output))
        expect_int8(self, graph, *self.inputs, self.output)
        if a.data is not None and b.data is not None:
            raise self.fail(f"both operands {self.inputs} are constants; fold them")
        try:
            shape = np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise self.fail(f"shapes {a.shape} and {b.shape} do not broadcast; make the axes equal or one") from None
        if shape != y.shape:
            raise self.fail(f"output is {y.shape}, but {a.shape} and {b.shape} broadcast to {shape}")
        if len(loops(a.shape, b.shape)[0]) > LOOPS:
            raise self.fail(f"shapes {a.shape} and {b.shape} alternate too often; reshape them to at most {LOOPS} axes")

    def operands(self, graph: Graph, args: tuple[Array, ...]) -> list[Array]:
        """Both operands as int64 of shape (n or 1, *as many axes as the output)."""
        rank = len(graph[self.output].shape)
        found = []
        for name, values in zip(self.inputs, args, strict=True):
            shape = graph[name].shape
            n = 1 if graph[name].data is not None else len(values)  # constants have no axis of examples
            found.append(values.astype(np.int64).reshape(n, *(1,) * (rank - len(shape)), *shape))
        return found

    def loop_params(self, graph: Graph) -> dict[str, Ints]:
        """The fields of the C struct `nn_broadcast`: always four loops, the missing ones run once."""
        counts, a, b = loops(graph[self.inputs[0]].shape, graph[self.inputs[1]].shape)
        missing = LOOPS - len(counts)
        return {"count": (1,) * missing + counts, "a_step": (0,) * missing + a, "b_step": (0,) * missing + b}

    def storage(self, graph: Graph) -> Storage:
        """Over the first operand, where each of its values is read once."""
        return "in_place" if graph[self.inputs[0]].size == graph[self.output].size else "new"


def loops(a: Ints, b: Ints) -> tuple[Ints, Ints, Ints]:
    """(counts, steps of a, steps of b), one per loop, outermost first; neighbouring axes that broadcast alike are one."""
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    merged: list[tuple[int, bool, bool]] = []  # (count, a advances, b advances)
    for m, n in zip(a, b, strict=True):
        if max(m, n) == 1:
            continue
        kind = m > 1, n > 1
        if merged and merged[-1][1:] == kind:
            merged[-1] = (merged[-1][0] * max(m, n), *kind)
        else:
            merged.append((max(m, n), *kind))

    def steps(operand: int) -> Ints:
        sizes = [count if (count, *moves)[operand] else 1 for count, *moves in merged]
        return tuple(math.prod(sizes[i + 1 :]) if merged[i][operand] else 0 for i in range(len(merged)))

    return tuple(count for count, _, _ in merged), steps(1), steps(2)
