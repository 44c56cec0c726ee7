"""The static memory plan: where in one arena each activation lives, and while which operators.

Time is the operator's index. Graph inputs are written before the first operator (-1); graph outputs stay until after the
last (`len(graph.ops)`). Tensors that share their bytes (alias, in place) form one block; blocks are placed one after the
other at the lowest free offset, in several orders, and the smallest plan is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.ir import Graph, Op

ALIGNMENT = 16  # of every offset, in bytes: enough for any C type and for SIMD loads


@dataclass(frozen=True, slots=True)
class Slot:
    """`nbytes` bytes at `offset`, in use from operator `first` to operator `last`, both included."""

    offset: int
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """`slots` by activation name, `scratch` by operator index (absent when an operator needs none).

    `live_bytes` has one entry per operator: the bytes in use while it runs, each aligned. `peak_ops` are the outputs of the
    operators where that is largest. `arena_bytes` is at least that peak, more only where gaps could not be filled.
    """

    slots: Mapping[str, Slot]
    scratch: Mapping[int, Slot]
    arena_bytes: int
    live_bytes: tuple[int, ...]
    peak_ops: tuple[str, ...]

    def live(self, op_index: int) -> tuple[str, ...]:
        """The activations in use while operator `op_index` runs, largest first."""
        names = [n for n, s in self.slots.items() if s.first <= op_index <= s.last]
        return tuple(sorted(names, key=lambda n: (-self.slots[n].nbytes, self.slots[n].first)))


@dataclass(slots=True)
class _Block:
    """Tensors that share one piece of memory, or one operator's scratch; `last` grows as later readers are found."""

    tensors: list[str]
    nbytes: int
    first: int
    last: int

    @property
    def aligned(self) -> int:
        return -(-self.nbytes // ALIGNMENT) * ALIGNMENT

    def overlaps(self, other: _Block) -> bool:
        return self.first <= other.last and other.first <= self.last


def plan(graph: Graph, scratch_bytes: Sequence[int]) -> Plan:
    """A plan for one inference at a time, with so many bytes of scratch an operator. GraphError when an operator asks to
    share memory it can not share."""
    last_use = _last_uses(graph)
    blocks: dict[str, _Block] = {}
    for name in graph.inputs:
        blocks[name] = _Block([name], graph[name].nbytes, -1, last_use[name])
    scratch: dict[int, _Block] = {}
    for i, op in enumerate(graph.ops):
        shared = _shared_block(graph, i, op, blocks)
        for name in op.outputs:
            if shared is not None and name == op.output:
                shared.tensors.append(name)
                shared.last = max(shared.last, last_use[name])
                blocks[name] = shared
            else:
                blocks[name] = _Block([name], graph[name].nbytes, i, last_use[name])
        if scratch_bytes[i]:
            scratch[i] = _Block([], scratch_bytes[i], i, i)
    unique = [*{id(b): b for b in blocks.values()}.values(), *scratch.values()]
    offsets = _place(unique)
    born = {name: i for i, op in enumerate(graph.ops) for name in op.outputs}
    slots = {n: Slot(offsets[id(b)], graph[n].nbytes, born.get(n, -1), last_use[n]) for n, b in blocks.items()}
    live = tuple(sum(b.aligned for b in unique if b.first <= i <= b.last) for i in range(len(graph.ops)))
    return Plan(
        slots=MappingProxyType(slots),
        scratch=MappingProxyType({i: Slot(offsets[id(b)], b.nbytes, i, i) for i, b in scratch.items()}),
        arena_bytes=max((offsets[id(b)] + b.aligned for b in unique), default=0),
        live_bytes=live,
        peak_ops=tuple(op.output for op, n in zip(graph.ops, live, strict=True) if n == max(live)),
    )


def _last_uses(graph: Graph) -> dict[str, int]:
    last = dict.fromkeys(graph.inputs, -1)
    for i, op in enumerate(graph.ops):
        last.update(dict.fromkeys((*op.inputs, *op.outputs), i))
    last.update(dict.fromkeys(graph.outputs, len(graph.ops)))
    return last


def _shared_block(graph: Graph, i: int, op: Op, blocks: Mapping[str, _Block]) -> _Block | None:
    """The block of the first input, when the first output is to live there."""
    storage = op.storage(graph)
    if storage == "new":
        return None
    source, target = graph[op.inputs[0]], graph[op.output]
    block = blocks.get(op.inputs[0])
    if storage == "alias":
        if block is None or source.nbytes != target.nbytes:
            raise op.fail(f"can not share the bytes of {op.inputs[0]!r}: it is a constant or has another size")
        return block
    # In place only over memory that nobody reads afterwards, and that no other argument of this operator is in.
    others = [n for n in op.inputs[1:] if blocks.get(n) is block]
    fits = block is not None and block.last == i and target.nbytes <= block.nbytes and not others
    return block if fits else None


def _place(blocks: Iterable[_Block]) -> dict[int, int]:
    """Offset by block identity: the best of a few placement orders, which all are deterministic."""
    blocks = list(blocks)
    orders = (
        lambda b: (-b.aligned, b.first),  # greedy by size: best for most networks
        lambda b: (-b.aligned * (b.last - b.first + 1), b.first),  # long-lived large ones first
        lambda b: (b.first - b.last, -b.aligned, b.first),  # longest life first
        lambda b: (b.first, -b.aligned),  # as they are born
    )
    plans = [_place_in_order(sorted(blocks, key=order)) for order in orders]
    return min(plans, key=lambda offsets: max((offsets[id(b)] + b.aligned for b in blocks), default=0))


def _place_in_order(blocks: Iterable[_Block]) -> dict[int, int]:
    offsets: dict[int, int] = {}
    placed: list[_Block] = []
    for block in blocks:
        offset = 0
        for other in sorted((b for b in placed if b.overlaps(block)), key=lambda b: offsets[id(b)]):
            if offset + block.aligned <= offsets[id(other)]:
                break
            offset = max(offset, offsets[id(other)] + other.aligned)
        offsets[id(block)] = offset
        placed.append(block)
    return offsets
