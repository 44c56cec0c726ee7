"""Graph -> Graph functions that never change an output bit. `optimize` runs them all, each followed by `Graph.checked()`."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.ir import Graph


def passes() -> tuple[Callable[[Graph], Graph], ...]:
    """In order. Imported here, so that `import pipeline.passes` costs nothing."""
    from pipeline.passes.drop_noops import drop_noops
    from pipeline.passes.eliminate_dead_channels import eliminate_dead_channels
    from pipeline.passes.fold_constants import fold_constants
    from pipeline.passes.fuse_clamp import fuse_clamp
    from pipeline.passes.fuse_pad import fuse_pad

    return (
        fold_constants,
        drop_noops,  # before the fusions, which look at direct neighbours
        fuse_pad,
        fuse_clamp,
        eliminate_dead_channels,  # last: it wants clamps inside the convolutions, where they make intervals narrow
    )


def optimize(graph: Graph) -> Graph:
    graph = graph.checked()
    for run in passes():
        graph = run(graph).checked()
    return graph
