"""What is counted: on which core, and where its numbers go in the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from count_table import Cost, Key
from counted import Counted, count
from kernel_cases import kernel_cases, random_example
from network_graphs import NETWORKS, network, random_bytes

from pipeline import target as targets
from pipeline.ir import Array
from pipeline.lowering.lower import Lowered, lower

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
    return [Key(of.graph.name, core, kernel) for of, _ in _subjects(core) for kernel in _kernels(of)]


def costs(core: str, folder: Path) -> dict[Key, Cost]:
    """What `keys(core)` cost, by an image that is built in `folder` and run."""
    graphs, inputs = zip(*_subjects(core), strict=True)
    counted = count(graphs, inputs, targets.load(core), folder)
    return {
        Key(lowered.graph.name, core, kernel): _cost(lowered, kernel, of)
        for lowered, of in zip(graphs, counted, strict=True)
        for kernel in _kernels(lowered)
    }


def _subjects(core: str) -> Iterator[tuple[Lowered, tuple[Array, ...]]]:
    """Graphs as the core runs them, and an example of their inputs."""
    target = targets.load(core)
    for name in CORES[core]:
        graph = network(name)
        inputs = tuple(random_bytes((1, *graph[x].shape), INPUT_SEED) for x in graph.inputs)
        yield lower(graph, target.cpu, target.memory), inputs
    if core in WITH_KERNELS:
        for graph in kernel_cases().values():
            yield lower(graph, target.cpu, target.memory), random_example(graph)


def _kernels(lowered: Lowered) -> list[str]:
    """Of a network "all" and each kernel; of a single operator its one kernel, which stands for all of it."""
    names = list(dict.fromkeys(kernel for i in range(len(lowered.layers)) for kernel in _called(lowered, i)))
    return names if len(lowered.layers) == 1 else [ALL, *names]


def _called(lowered: Lowered, i: int) -> set[str]:
    return {kernel.name for kernel in lowered.layers[i].kernels}


def _cost(lowered: Lowered, kernel: str, counted: Counted) -> Cost:
    if kernel == ALL or len(lowered.layers) == 1:
        return Cost(sum(counted.instructions), sum(counted.functions.values()))
    layers = (n for i, n in enumerate(counted.instructions[:-1]) if kernel in _called(lowered, i))
    own = (n for name, n in counted.functions.items() if owner(name, lowered.kernel_names) == kernel)
    return Cost(sum(layers), sum(own))


def owner(function: str, kernels: Iterable[str]) -> str:
    """gcc's copies have suffixes (`.constprop.0`, `.part.0`), a kernel's own parts its name in front (`conv2d_s8_add`); of
    two kernels it is the one with the longer name (`conv2d_s8_1x1__dsp`)."""
    return max((k for k in kernels if function == k or function.startswith((f"{k}.", f"{k}_"))), key=len, default="")
