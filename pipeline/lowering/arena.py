"""The static memory plan: where in one arena each activation lives, and while which operators.

Time is the operator's index. Graph inputs are written before the first operator (-1); graph outputs stay until after the
last (`len(graph.ops)`). Of two activations that are in use at the same time, one lies behind the other; an output may lie
over an input that dies where it is written, as far as its kernel says. They are placed one after the other at the lowest
offset that is allowed, in several orders, and the smallest plan is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pipeline.ir import Graph, Op
from pipeline.kernel import Variant

ALIGNMENT = 16  # of every offset, in bytes: enough for any C type and for SIMD loads
SHUFFLES = 2000  # placements in all, in random orders from a fixed seed, where the other orders leave gaps

Offsets = npt.NDArray[np.int64]


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

    `live_bytes` has one entry per operator: the bytes in use while it runs, those that two share once, each aligned.
    `peak_ops` are the outputs of the operators where that is largest. `arena_bytes` is at least that peak, more only where
    gaps could not be filled.
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
class _Item:
    """An activation with its aliases, or an operator's scratch; `last` grows as later readers are found."""

    nbytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Over:
    """`output` may lie over `source`, by how far (lowest, highest) its start is behind the source's; None: any."""

    source: int
    output: int
    shift: tuple[int | None, int | None]


def plan(graph: Graph, variants: Sequence[Variant]) -> Plan:
    """A plan for one inference at a time, each operator computed by its variant. GraphError when an operator asks to share
    memory it can not share."""
    last_use = _last_uses(graph)
    items = [_Item(_aligned(graph[name].nbytes), -1, last_use[name]) for name in graph.inputs]
    index = {name: i for i, name in enumerate(graph.inputs)}
    scratch: dict[int, int] = {}
    for i, op in enumerate(graph.ops):
        for name in op.outputs:
            if name == op.output and op.storage(graph) == "alias":
                source = _alias_of(graph, op, index)
                index[name] = source
                items[source].last = max(items[source].last, last_use[name])
            else:
                index[name] = len(items)
                items.append(_Item(_aligned(graph[name].nbytes), i, last_use[name]))
        if variants[i].scratch_bytes:
            scratch[i] = len(items)
            items.append(_Item(_aligned(variants[i].scratch_bytes), i, i))
    overs = [over for i, op in enumerate(graph.ops) for over in _overs(graph, i, op, variants[i], items, index)]
    offsets = _place(items, overs)
    born = {name: i for i, op in enumerate(graph.ops) for name in op.outputs}
    live = tuple(_in_use(items, offsets, i) for i in range(len(graph.ops)))
    return Plan(
        slots=MappingProxyType(
            {n: Slot(offsets[at], graph[n].nbytes, born.get(n, -1), last_use[n]) for n, at in index.items()}
        ),
        scratch=MappingProxyType({i: Slot(offsets[at], variants[i].scratch_bytes, i, i) for i, at in scratch.items()}),
        arena_bytes=_end(items, offsets),
        live_bytes=live,
        peak_ops=tuple(op.output for op, n in zip(graph.ops, live, strict=True) if n == max(live)),
    )


def _last_uses(graph: Graph) -> dict[str, int]:
    last = dict.fromkeys(graph.inputs, -1)
    for i, op in enumerate(graph.ops):
        last.update(dict.fromkeys((*op.inputs, *op.outputs), i))
    last.update(dict.fromkeys(graph.outputs, len(graph.ops)))
    return last


def _alias_of(graph: Graph, op: Op, index: Mapping[str, int]) -> int:
    source = op.inputs[0]
    if source not in index or graph[source].nbytes != graph[op.output].nbytes:
        raise op.fail(f"can not share the bytes of {source!r}: it is a constant or has another size")
    return index[source]


def _overs(
    graph: Graph, i: int, op: Op, variant: Variant, items: Sequence[_Item], index: Mapping[str, int]
) -> Iterator[_Over]:
    """The inputs that the first output may lie over: memory that nobody reads afterwards, and that no other argument of this
    operator is in."""
    storage = op.storage(graph)
    if storage == "alias":
        return
    shifts = {0: (0, 0)} if storage == "in_place" and graph[op.output].nbytes <= graph[op.inputs[0]].nbytes else {}
    for k, shift in {**shifts, **variant.over}.items():
        source = index.get(op.inputs[k])
        others = [n for j, n in enumerate(op.inputs) if j != k and index.get(n) == source]
        if source is not None and items[source].last == i and not others:
            yield _Over(source, index[op.output], shift)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _end(items: Sequence[_Item], offsets: Sequence[int]) -> int:
    return max((at + item.nbytes for item, at in zip(items, offsets, strict=True)), default=0)


def _in_use(items: Sequence[_Item], offsets: Sequence[int], time: int) -> int:
    """The bytes that lie in any item of that time."""
    alive = [(at, at + item.nbytes) for item, at in zip(items, offsets, strict=True) if item.first <= time <= item.last]
    total = end = 0
    for low, high in sorted(alive):
        total += max(0, high - max(end, low))
        end = max(end, high)
    return total


def _place(items: Sequence[_Item], overs: Sequence[_Over]) -> list[int]:
    """Offsets of the items: the best of a few placement orders, which all are deterministic."""
    apart, bound = _apart(items, overs), _bound(items, overs)
    best: list[int] = []
    for order in _orders(items):
        offsets = _place_in_order(order, apart)
        if not best or _end(items, offsets) < _end(items, best):
            best = offsets
        if _end(items, best) <= bound:
            break
    return best


def _bound(items: Sequence[_Item], overs: Sequence[_Over]) -> int:
    """Bytes that no plan can do without: those of all that is in use at one time, less what can be shared then."""
    shared: dict[int, int] = {}
    for over in overs:
        x, y = items[over.source], items[over.output]
        lowest, highest = over.shift
        nearest = min(0, highest) if highest is not None else max(0, lowest or 0)
        together = max(x.nbytes, nearest + y.nbytes) - min(0, nearest)
        saved = max(0, x.nbytes + y.nbytes - together)
        shared[over.output] = max(saved, shared.get(over.output, 0))
    steps = range(-1, max((item.last for item in items), default=-1) + 1)
    used = (sum(i.nbytes for i in items if i.first <= t <= i.last) for t in steps)
    by_time = {items[output].first: saved for output, saved in shared.items()}
    return max((n - by_time.get(t, 0) for t, n in zip(steps, used, strict=True)), default=0)


def _orders(items: Sequence[_Item]) -> Iterator[Offsets]:
    """Greedy by size, which is best for most networks; long-lived large ones first; longest life first; as they are born;
    then by size, more or less."""
    size, first, last = (
        np.array(column, np.int64) for column in zip(*((i.nbytes, i.first, i.last) for i in items), strict=True)
    )
    life = last - first + 1
    yield np.lexsort((first, -size))
    yield np.lexsort((first, -size * life))
    yield np.lexsort((first, -size, -life))
    yield np.lexsort((-size, first))
    rng = np.random.default_rng(0)
    for _ in range(SHUFFLES // len(items)):
        yield np.argsort(-size * rng.uniform(0.2, 1.2, len(size)), kind="stable")


def _apart(items: Sequence[_Item], overs: Sequence[_Over]) -> list[list[tuple[int, int, int]]]:
    """For each item the others that it can not be anywhere to: (other, low, high), how far its start must not be behind the
    other's, both ends excluded."""
    apart: list[list[tuple[int, int, int]]] = [[] for _ in items]
    allowed = {(over.source, over.output): over.shift for over in overs}
    for a, x in enumerate(items):
        for b, y in enumerate(items[a + 1 :], a + 1):
            if x.first > y.last or y.first > x.last:
                continue
            lowest, highest = allowed.get((a, b), (x.nbytes, None))
            if lowest is not None:
                apart[b].append((a, -y.nbytes, lowest))
                apart[a].append((b, -lowest, y.nbytes))
            if highest is not None:
                apart[b].append((a, highest, x.nbytes))
                apart[a].append((b, -x.nbytes, -highest))
    return apart


def _place_in_order(order: Offsets, apart: Sequence[Sequence[tuple[int, int, int]]]) -> list[int]:
    offsets = [-1] * len(order)
    for item in order:
        closed = sorted((offsets[o] + low, offsets[o] + high) for o, low, high in apart[item] if offsets[o] >= 0)
        offsets[item] = _lowest(closed)
    return offsets


def _lowest(closed: Sequence[tuple[int, int]]) -> int:
    """The lowest multiple of the alignment that is in none of the open intervals, which are sorted by their lower ends."""
    at = 0
    for low, high in closed:
        if low < at < high:
            at = _aligned(high)
    return at
