"""From a graph to what one core will run: for each operator one of its variants, and where everything lives.

Made once for a firmware, with the core and the memory it is for; all that is written of it (C, sizes, the arena's picture,
the manifest) is read from the one `Lowered`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.ir import Graph, Op
from pipeline.kernel import Kernel, Variant
from pipeline.lowering.arena import Plan, plan
from pipeline.lowering.sizes import LayerSize, constant_bytes, known_ram, layer_sizes
from pipeline.target import Cpu, Memory


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


def lower(graph: Graph, cpu: Cpu, memory: Memory) -> Lowered:
    """The fastest variants by their own estimates that the core can run and the memory can hold. A graph that does not fit
    with the smallest ones is lowered all the same: `sizes.check_fits` says what is too large."""
    lowered = lowered_with(graph, [_weighed(op, op.variants(graph), cpu.isa) for op in graph.ops])
    while (rejected := _too_much(lowered, memory)) is not None:
        index, why = rejected
        layers = lowered.layers
        lowered = lowered_with(graph, [*layers[:index], _without_chosen(layers[index], why), *layers[index + 1 :]])
    return lowered


def lowered_with(graph: Graph, layers: Iterable[Layer]) -> Lowered:
    """The graph with these layers, one an operator: memory planned, sizes counted."""
    layers = tuple(layers)
    arena = plan(graph, [layer.chosen.scratch_bytes for layer in layers])
    return Lowered(graph, layers, arena, layer_sizes(graph, [layer.kernels for layer in layers], arena))


def _weighed(op: Op, variants: Sequence[Variant], isa: Sequence[str]) -> Layer:
    refusals = [(v, v.refused or _lacking(v, isa)) for v in variants]
    possible = [v for v, refusal in refusals if refusal is None]
    return _decided(op, [Candidate(v, refusal is None, refusal or "") for v, refusal in refusals], possible)


def _without_chosen(layer: Layer, why: str) -> Layer:
    """The layer by another variant than its chosen one, which memory has no room for."""
    candidates = [Candidate(c.variant, False, why) if c.variant is layer.chosen else c for c in layer.candidates]
    return _decided(layer.op, candidates, [c.variant for c in candidates if c.possible])


def _decided(op: Op, candidates: Sequence[Candidate], possible: Sequence[Variant]) -> Layer:
    """The cheapest of those that are possible; the first of equals."""
    best = min(possible, key=lambda v: v.cost)

    def why(c: Candidate) -> str:
        if not c.possible:
            return c.why
        if c.variant is not best:
            return f"about {c.variant.cost:,} instructions, {best.name} takes {best.cost:,}"
        if len(possible) == 1:
            return "the only one possible" if len(candidates) > 1 else "the only one there is"
        return f"about {best.cost:,} instructions, the fewest"

    return Layer(op, tuple(replace(c, why=why(c)) for c in candidates), best)


def _lacking(variant: Variant, isa: Sequence[str]) -> str | None:
    missing = [feature for feature in variant.needs if feature not in isa]
    return f"the core has no {', '.join(missing)}" if missing else None


def _too_much(lowered: Lowered, memory: Memory) -> tuple[int, str] | None:
    """The layer that is to do without its chosen variant, and why: in the RAM the one with scratch where most is in use, in
    the flash the one with the longest code."""
    chosen = [layer.chosen for layer in lowered.layers]
    spare = [i for i, layer in enumerate(lowered.layers) if _has_smaller(layer)]
    scratch = [i for i in spare if chosen[i].scratch_bytes]
    if scratch and sum(known_ram(lowered.graph, lowered.arena, memory).values()) > memory.ram_bytes:
        i = max(scratch, key=lambda i: lowered.arena.live_bytes[i])
        return i, f"the RAM has no room for its {chosen[i].scratch_bytes:,} bytes of scratch beside the activations"
    code = sum({v.name: v.code_bytes for v in chosen}.values())
    if spare and constant_bytes(lowered.sizes) + code > memory.flash_bytes:
        i = max(spare, key=lambda i: chosen[i].code_bytes)
        return i, f"the flash has no room for about {chosen[i].code_bytes:,} bytes more of code"
    return None


def _has_smaller(layer: Layer) -> bool:
    """Another variant is possible that takes less scratch and less code."""
    return any(
        c.possible
        and c.variant.scratch_bytes <= layer.chosen.scratch_bytes
        and c.variant.code_bytes <= layer.chosen.code_bytes
        and c.variant is not layer.chosen
        for c in layer.candidates
    )
