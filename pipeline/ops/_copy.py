"""What the operators that only move values (transpose, slice, split...) share: strided copies of at most four loops."""

from __future__ import annotations

import math

from pipeline.ir import Graph, Op
from pipeline.kernel import Kernel

LOOPS = 4
Ints = tuple[int, ...]


def steps(shape: Ints) -> Ints:
    """How many values one step along each axis passes over, row-major."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def copy_kernel(source: str, target: str, counts: Ints, x: tuple[Ints, int], y: tuple[Ints, int]) -> Kernel:
    """Copies `counts` values; x and y are each (steps, where the first value lies). Axes that both sides walk through as one
    become one loop."""
    loops: list[tuple[int, int, int]] = []
    for count, x_step, y_step in zip(counts, x[0], y[0], strict=True):
        if count == 1:
            continue
        if loops and loops[-1][1:] == (count * x_step, count * y_step):
            loops[-1] = (loops[-1][0] * count, x_step, y_step)
        else:
            loops.append((count, x_step, y_step))
    loops = [(1, 0, 0)] * (LOOPS - len(loops)) + loops
    counts, x_steps, y_steps = zip(*loops, strict=True)
    params = {"count": counts, "x_step": x_steps, "y_step": y_steps, "x_start": x[1], "y_start": y[1]}
    return Kernel("copy_s8", params, (source,), (target,))


def check_copies(op: Op, graph: Graph) -> None:
    """Each copy fits the kernel's loops."""
    for kernel in op.kernels(graph):
        if len(kernel.params["count"]) > LOOPS:
            shape = graph[kernel.inputs[0]].shape
            raise op.fail(
                f"moving {shape} takes more than {LOOPS} loops; reshape it so that axes that stay together are one"
            )
