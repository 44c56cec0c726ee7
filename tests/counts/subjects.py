"""What is counted: on which core, and where its numbers go in the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from count_table import Cost, Key
from counted import Counted, count
from kernel_cases import kernel_cases, random_example
from network_graphs import NETWORKS, network, random_bytes

from pipeline import target as targets
from pipeline.ir import Array, Graph

# Networks by the target they are counted on. The single operators run where C is all there is, and where dot.h has better.
CORES = {
    "cortex-m4": tuple(NETWORKS),
    "cortex-m3": ("digits_cnn",),
    "cortex-m33": ("digits_cnn",),
    "cortex-m7": ("digits_cnn",),
    "cortex-m55": ("digits_cnn",),
}
WITH_KERNELS = ("cortex-m4", "cortex-m3")
ALL = "all"
INPUT_SEED = 9


def keys(core: str) -> list[Key]:
    """The rows that the table must have, in order."""
    return [Key(graph.name, core, kernel) for graph, _ in _subjects(core) for kernel in _kernels(graph)]


def costs(core: str, folder: Path) -> dict[Key, Cost]:
    """What `keys(core)` cost, by an image that is built in `folder` and run."""
    graphs, inputs = zip(*_subjects(core), strict=True)
    counted = count(graphs, inputs, targets.load(core), folder)
    return {
        Key(graph.name, core, kernel): _cost(graph, kernel, of)
        for graph, of in zip(graphs, counted, strict=True)
        for kernel in _kernels(graph)
    }


def _subjects(core: str) -> Iterator[tuple[Graph, tuple[Array, ...]]]:
    """Graphs, and an example of their inputs."""
    for name in CORES[core]:
        graph = network(name)
        yield graph, tuple(random_bytes((1, *graph[x].shape), INPUT_SEED) for x in graph.inputs)
    if core in WITH_KERNELS:
        for graph in kernel_cases().values():
            yield graph, random_example(graph)


def _kernels(graph: Graph) -> list[str]:
    """Of a network "all" and each kernel; of a single operator its one kernel, which stands for all of it."""
    names = list(dict.fromkeys(kernel for i in range(len(graph.ops)) for kernel in _called(graph, i)))
    return names if len(graph.ops) == 1 else [ALL, *names]


def _called(graph: Graph, i: int) -> set[str]:
    return {kernel.name for kernel in graph.ops[i].kernels(graph)}


def _cost(graph: Graph, kernel: str, counted: Counted) -> Cost:
    if kernel == ALL or len(graph.ops) == 1:
        return Cost(sum(counted.instructions), sum(counted.functions.values()))
    layers = (n for i, n in enumerate(counted.instructions[:-1]) if kernel in _called(graph, i))
    return Cost(sum(layers), sum(n for name, n in counted.functions.items() if _belongs(name, kernel)))


def _belongs(function: str, kernel: str) -> bool:
    """gcc's copies have suffixes (`.constprop.0`, `.part.0`), a kernel's own parts its name in front (`conv2d_s8_add`)."""
    return function == kernel or function.startswith((f"{kernel}.", f"{kernel}_"))
