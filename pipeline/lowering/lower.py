"""From a graph to what one core will run: for each operator one of its variants, and where everything lives.

Made once for a firmware, with the core and the memory it is for; all that is written of it (C, sizes, the arena's picture,
the manifest) is read from the one `Lowered`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.ir import Graph, Op
from pipeline.kernel import Kernel, Variant
from pipeline.lowering import choose
from pipeline.lowering.arena import Plan, plan
from pipeline.lowering.budget import NO_LIMIT, Budget, Optimize
from pipeline.lowering.sizes import LayerSize, known_ram, layer_sizes, variant_bytes
from pipeline.target import Cpu, Memory

FIRMWARE_BYTES = 6_000  # of flash, about, that are not the model's: start-up, protocol, drivers


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A variant as it was weighed. `why` says what speaks against it, for the chosen one what spoke for it."""

    variant: Variant
    possible: bool
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """An operator, all its variants in the operator's order, and the one it is computed by."""

    op: Op
    candidates: tuple[Candidate, ...]
    chosen: Variant

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return self.chosen.kernels


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A graph as one core runs it: `layers` and `sizes` one an operator, `arena` the plan with the layers' scratch."""

    graph: Graph
    layers: tuple[Layer, ...]
    arena: Plan
    sizes: tuple[LayerSize, ...]

    @property
    def kernel_names(self) -> list[str]:
        """Of all layers, sorted, each once."""
        return sorted({k.name for layer in self.layers for k in layer.kernels})

    @property
    def variants(self) -> tuple[str, ...]:
        """What each layer is computed by."""
        return tuple(layer.chosen.name for layer in self.layers)

    @property
    def flash_bytes(self) -> int:
        """Constants and code, as estimated; what it is shows when it is linked."""
        code = {part: size for layer in self.layers for part, size in layer.chosen.code.items()}
        return sum(variant_bytes(self.graph, layer.chosen) for layer in self.layers) + sum(code.values())


def lower(graph: Graph, cpu: Cpu, memory: Memory, budget: Budget = NO_LIMIT) -> Lowered:
    """The best variants, by their own estimates, that the core can run and that fit. A graph that does not fit with the
    smallest ones is lowered all the same: `sizes.check_fits` says what is too large."""
    layers = [_weighed(op, op.variants(graph), cpu.isa) for op in graph.ops]
    limit = memory.flash_bytes - FIRMWARE_BYTES if budget.model_flash_bytes is None else budget.model_flash_bytes
    while True:
        lowered = lowered_with(graph, _chosen(graph, layers, budget.optimize, limit))
        index = _too_much_ram(lowered, memory, budget)
        if index is None:
            return lowered
        layers[index] = _without_chosen(lowered, index)


def lowered_with(graph: Graph, layers: Iterable[Layer]) -> Lowered:
    """The graph with these layers, one an operator: memory planned, sizes counted."""
    layers = tuple(layers)
    arena = plan(graph, [layer.chosen for layer in layers])
    return Lowered(graph, layers, arena, layer_sizes(graph, [layer.kernels for layer in layers], arena))


def _weighed(op: Op, variants: Sequence[Variant], isa: Sequence[str]) -> Layer:
    refusals = [(v, v.refused or _lacking(v, isa)) for v in variants]
    return Layer(op, tuple(Candidate(v, refusal is None, refusal or "") for v, refusal in refusals), variants[0])


def _chosen(graph: Graph, layers: Sequence[Layer], optimize: Optimize, limit: int) -> list[Layer]:
    """Of all layers the variants that together are best, and what is to be said of the others."""
    possible = [[c.variant for c in layer.candidates if c.possible] for layer in layers]
    knapsack = [
        choose.Layer(layer.op.kind, tuple(_way(graph, v) for v in variants))
        for layer, variants in zip(layers, possible, strict=True)
    ]
    if optimize == "speed":
        choice = choose.fastest(knapsack, limit)
    else:
        choice = choose.smallest(knapsack) if optimize == "size" else choose.balanced(knapsack)
        if choose.flash(knapsack, choice) > limit:
            choice = choose.fastest(knapsack, limit)
    return [
        _reasoned(graph, layer, variants[i], optimize) for layer, variants, i in zip(layers, possible, choice, strict=True)
    ]


def _way(graph: Graph, variant: Variant) -> choose.Way:
    return choose.Way(variant.cycles, variant_bytes(graph, variant), variant.name, tuple(variant.code.items()))


def _reasoned(graph: Graph, layer: Layer, best: Variant, optimize: Optimize) -> Layer:
    """The layer with its choice, and of each candidate why it is that or not."""
    possible = [c for c in layer.candidates if c.possible]
    size = variant_bytes(graph, best)

    def why(c: Candidate) -> str:
        v = c.variant
        if not c.possible:
            return c.why
        if v is best:
            if len(possible) == 1:
                return "the only one possible" if len(layer.candidates) > 1 else "the only one there is"
            fewest = all(best.cycles <= other.variant.cycles for other in possible)
            return f"about {best.cycles:,} cycles, " + ("the fewest" if fewest else f"with {size:,} bytes of constants")
        if v.cycles >= best.cycles:
            return f"about {v.cycles:,} cycles, {best.name} takes {best.cycles:,}"
        more, code = variant_bytes(graph, v) - size, sum(v.code.values())
        reason = "more than there is room for" if optimize == "speed" else f"not worth it for {optimize!r}"
        return f"about {v.cycles:,} cycles, but {more:+,} bytes of constants and its {code:,} of code: {reason}"

    return Layer(layer.op, tuple(replace(c, why=why(c)) for c in layer.candidates), best)


def _without_chosen(lowered: Lowered, index: int) -> Layer:
    """The layer by another variant than its chosen one, which the RAM has no room for."""
    layer = lowered.layers[index]
    scratch = layer.chosen.scratch_bytes
    what = f"{scratch:,} bytes of scratch beside the activations" if scratch else "output beside its inputs"
    why = f"the RAM has no room for its {what}"
    return replace(
        layer,
        candidates=tuple(Candidate(c.variant, False, why) if c.variant is layer.chosen else c for c in layer.candidates),
    )


def _lacking(variant: Variant, isa: Sequence[str]) -> str | None:
    missing = [feature for feature in variant.needs if feature not in isa]
    return f"the core has no {', '.join(missing)}" if missing else None


def _too_much_ram(lowered: Lowered, memory: Memory, budget: Budget) -> int | None:
    """The layer that is to do without its chosen variant: of those where most is in use the first that has a variant with
    which the arena is smaller. None where it fits, or no other variant helps."""
    arena = lowered.arena.arena_bytes
    fits = sum(known_ram(lowered.graph, lowered.arena, memory).values()) <= memory.ram_bytes
    if fits and (budget.model_ram_bytes is None or arena <= budget.model_ram_bytes):
        return None
    live = lowered.arena.live_bytes
    for i in sorted(range(len(live)), key=lambda i: -live[i]):
        chosen = [layer.chosen for layer in lowered.layers]
        for c in lowered.layers[i].candidates:
            if c.possible and c.variant is not chosen[i]:
                other = plan(lowered.graph, [*chosen[:i], c.variant, *chosen[i + 1 :]])
                if other.arena_bytes < arena or other.live_bytes[i] < live[i]:
                    return i
    return None
