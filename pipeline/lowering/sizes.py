"""What each layer costs: constant bytes, activation bytes, multiply-accumulates; and whether a target can hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.display import byte_size
from pipeline.errors import TargetError
from pipeline.ir import Array, Graph, Tensor
from pipeline.kernel import Const, Kernel, Variant
from pipeline.lowering.arena import Plan
from pipeline.lowering.budget import NO_LIMIT, Budget
from pipeline.target import Memory, Target

NAMED_LAYERS = 4  # in a message


@dataclass(frozen=True, slots=True)
class LayerSize:
    """One operator. `constant_bytes` are weights, biases and requantisation tables (arrays that several layers share count
    for the first); `live_bytes` is the arena in use while it runs, its input, output and `scratch_bytes` included."""

    index: int
    name: str
    kind: str
    shape: str
    kernels: tuple[str, ...]
    macs: int
    constant_bytes: int
    output_bytes: int
    scratch_bytes: int
    live_bytes: int


def shape_text(t: Tensor) -> str:
    """`8x8x16`: the shape without its leading 1."""
    dims = t.shape[1:] if len(t.shape) > 1 and t.shape[0] == 1 else t.shape
    return "x".join(map(str, dims)) or "1"


def _constant_sizes(graph: Graph, kernels: Sequence[tuple[Kernel, ...]]) -> tuple[int, ...]:
    """`LayerSize.constant_bytes` of each operator: what the firmware's constants take, in order of execution."""
    seen: set[tuple[str, bytes]] = set()

    def new_bytes(arrays: Iterator[Array]) -> int:
        total = 0
        for a in arrays:
            key = (str(a.dtype), a.tobytes())
            total += 0 if key in seen else a.nbytes
            seen.add(key)
        return total

    return tuple(sum(new_bytes(_arrays(graph, k.params)) for k in calls) for calls in kernels)


def layer_sizes(graph: Graph, kernels: Sequence[tuple[Kernel, ...]], plan: Plan) -> tuple[LayerSize, ...]:
    """One an operator, which `kernels` compute."""
    rows = []
    for i, (op, constants) in enumerate(zip(graph.ops, _constant_sizes(graph, kernels), strict=True)):
        rows.append(
            LayerSize(
                index=i,
                name=op.output,
                kind=op.kind,
                shape=shape_text(graph[op.output]),
                kernels=tuple(k.name for k in kernels[i]),
                macs=op.macs(graph),
                constant_bytes=constants,
                output_bytes=sum(graph[n].nbytes for n in op.outputs),
                scratch_bytes=plan.scratch[i].nbytes if i in plan.scratch else 0,
                live_bytes=plan.live_bytes[i],
            )
        )
    return tuple(rows)


def variant_bytes(graph: Graph, variant: Variant) -> int:
    """What its constants take in flash, about: arrays that other layers share are counted as its own."""
    return sum(a.nbytes for kernel in variant.kernels for a in _arrays(graph, kernel.params))


def _arrays(graph: Graph, params: Mapping[str, Any]) -> Iterator[Array]:
    for value in params.values():
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, Const):
            yield graph.constant(value.tensor)
        elif isinstance(value, Mapping):
            yield from _arrays(graph, value)


def check_fits(graph: Graph, plan: Plan, layers: Sequence[LayerSize], target: Target, budget: Budget = NO_LIMIT) -> None:
    """TargetError, before anything is built, when weights alone exceed the flash, or arena, uploaded input and stack the
    RAM, or what the budget leaves of either. What the code adds is only known when it is linked; the build says it then."""
    memory, flash, ram = target.memory, budget.model_flash_bytes, budget.model_ram_bytes
    if constant_bytes(layers) > memory.flash_bytes:
        raise TargetError(flash_message(graph, layers, target))
    if sum(known_ram(graph, plan, memory).values()) > memory.ram_bytes:
        raise TargetError(ram_message(graph, plan, target))
    if flash is not None and constant_bytes(layers) > flash:
        raise TargetError(budget_message(layers, graph.name, "flash", flash, f"more than {constant_bytes(layers):,}"))
    if ram is not None and plan.arena_bytes > ram:
        raise TargetError(budget_message(layers, graph.name, "ram", ram, f"{plan.arena_bytes:,}"))


def budget_message(layers: Sequence[LayerSize], name: str, memory: Literal["flash", "ram"], limit: int, least: str) -> str:
    """`least`: the bytes that its smallest kernels take; the layers that make them are named."""
    taken = {r.index: r.constant_bytes if memory == "flash" else r.live_bytes for r in layers}
    largest = sorted(layers, key=lambda r: -taken[r.index])[:NAMED_LAYERS]
    who = ", ".join(f"{r.index} {r.name!r} ({r.kind}) {taken[r.index]:,}" for r in largest if taken[r.index])
    what = "flash for constants and code" if memory == "flash" else "RAM for activations and scratch"
    of_each = "constants" if memory == "flash" else "in use at once"
    return (
        f"Model {name!r} can not do with {limit:,} bytes of {what}: with the smallest kernels it takes {least}, most of it "
        f"in the layers {who} ({of_each}). Give it more (--model-{memory}, model_{memory}_bytes in [codegen]), prune more "
        "(a smaller prune.keep), or make those layers narrower."
    )


def constant_bytes(layers: Sequence[LayerSize]) -> int:
    return sum(layer.constant_bytes for layer in layers)


def flash_message(graph: Graph, layers: Sequence[LayerSize], target: Target, linked_bytes: int | None = None) -> str:
    """`linked_bytes` is what the linker wanted, code included; without it, only the weights are known."""
    largest = sorted(layers, key=lambda r: -r.constant_bytes)[:NAMED_LAYERS]
    who = ", ".join(f"{r.name!r} ({r.kind}) {r.constant_bytes:,}" for r in largest if r.constant_bytes)
    weights = constant_bytes(layers)
    code = f"; code takes {linked_bytes - weights:,}" if linked_bytes is not None else ""
    there = target.memory.flash_bytes
    return (
        f"Model {graph.name!r} does not fit into {byte_size(there)}, the flash of {target.name}: it needs "
        f"{_needed(weights, linked_bytes)} bytes, there are {there:,}. Its weights take {weights:,}, most of them in "
        f"{who}{code}. Prune more (a smaller prune.keep), make those layers narrower, or choose a target with more flash "
        "(`pipeline targets`)."
    )


def ram_message(graph: Graph, plan: Plan, target: Target, linked_bytes: int | None = None) -> str:
    """`linked_bytes` is what the linker wanted, the firmware's own variables included."""
    who = "no layer"
    if graph.ops:
        i = plan.live_bytes.index(max(plan.live_bytes))
        tensors = ", ".join(f"{n!r} {graph[n].nbytes:,}" for n in plan.live(i)[:NAMED_LAYERS])
        scratch = f", scratch {plan.scratch[i].nbytes:,}" if i in plan.scratch else ""
        who = f"layer {i}, {graph.ops[i].kind} {graph.ops[i].output!r}, which holds {tensors}{scratch} bytes at once"
    parts = known_ram(graph, plan, target.memory)
    known = sum(parts.values())
    if linked_bytes is not None:
        parts["the firmware's own variables"] = linked_bytes - known
    held = ", ".join(f"{what} {size:,}" for what, size in parts.items())
    there = target.memory.ram_bytes
    return (
        f"Model {graph.name!r} does not fit into {byte_size(there)}, the RAM of {target.name}: it needs "
        f"{_needed(known, linked_bytes)} bytes, there are {there:,}. It holds {held}; the peak of the activations is at "
        f"{who}. Prune more (a smaller prune.keep), give the model a smaller input or an earlier stride, or choose a target "
        "with more RAM (`pipeline targets`)."
    )


def known_ram(graph: Graph, plan: Plan, memory: Memory) -> dict[str, int]:
    """What is in the RAM for sure, before anything is linked."""
    uploaded = sum(graph[n].nbytes for n in graph.inputs)
    return {"activations": plan.arena_bytes, "the uploaded input": uploaded, "the stack": memory.stack_bytes}


def _needed(known: int, linked: int | None) -> str:
    return f"more than {known:,}" if linked is None else f"{linked:,}"
