"""One variant for each layer, so that all together are fast and still fit into the flash: a knapsack.

A layer's way costs cycles and takes constants; its kernel's code is there once, however many layers it computes. So
each kind of operator is tried with every set of its kernels: how few cycles its layers can do with in how many bytes,
by dynamic programming over small steps. The kinds then divide the flash among them the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Generic, TypeVar

import numpy as np

STEPS = 4096  # that the flash is divided into; sizes are rounded up to whole ones
HIGHEST_PRICE = 2**40  # cycles a byte

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Way:
    """A layer by one of its variants: cycles, bytes of its constants, the kernel, and the parts of that one's code with
    their bytes, some of which other kernels have, too."""

    cost: int
    constants: int
    kernel: str
    code: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """The ways of one layer, at least one. Layers of one `kind` of operator share kernels; others do not."""

    kind: str
    ways: tuple[Way, ...]


Choice = tuple[int, ...]
"""For each layer the index of its way."""


def cost(layers: Sequence[Layer], choice: Choice) -> int:
    return sum(layer.ways[i].cost for layer, i in zip(layers, choice, strict=True))


def flash(layers: Sequence[Layer], choice: Choice) -> int:
    """Constants, and each part of the code once."""
    ways = [layer.ways[i] for layer, i in zip(layers, choice, strict=True)]
    return sum(w.constants for w in ways) + _code(ways)


def fastest(layers: Sequence[Layer], limit: int) -> Choice:
    """The fewest cycles within `limit` bytes; the smallest choice where nothing fits. The first of equal ways."""
    quick, small = at_price(layers, 0), smallest(layers)
    if flash(layers, quick) <= limit or flash(layers, small) >= limit:
        return quick if flash(layers, quick) <= limit else small
    extra = limit - sum(_least(layer) for layer in layers)
    step = -(-extra // STEPS)
    room, kinds = extra // step, _by_kind(layers)
    whole = _Table([_offers([layers[i] for i in members], step, room) for members in kinds], room)
    if not np.isfinite(whole.costs[room]):
        return small
    found = [0] * len(layers)
    for members, (table, at) in zip(kinds, whole.picks(room), strict=True):
        for i, way in zip(members, table.picks(at), strict=True):
            found[i] = way
    return min(tuple(found), small, key=lambda choice: cost(layers, choice))


def smallest(layers: Sequence[Layer]) -> Choice:
    """The fewest bytes; of those, the fewest cycles."""
    return at_price(layers, HIGHEST_PRICE)


def balanced(layers: Sequence[Layer]) -> Choice:
    """A percent of the fastest choice's cycles is worth a percent of the smallest one's bytes."""
    cycles, size = cost(layers, at_price(layers, 0)), flash(layers, smallest(layers))
    return at_price(layers, cycles / max(size, 1))


def at_price(layers: Sequence[Layer], price: float) -> Choice:
    """The least cycles + price * bytes."""
    found = [0] * len(layers)
    for members in _by_kind(layers):
        best: list[int] = []
        least = np.inf
        for kernels in _sets(layers[i] for i in members):
            ways = [w for i in members if (w := _best_within(layers[i], kernels, price)) is not None]
            if len(ways) < len(members):
                continue
            chosen = [layers[i].ways[w] for i, w in zip(members, ways, strict=True)]
            total = sum(w.cost + price * w.constants for w in chosen) + price * _code(chosen)
            if total < least:
                best, least = ways, total
        for i, way in zip(members, best, strict=True):
            found[i] = way
    return tuple(found)


def _code(ways: Iterable[Way]) -> int:
    return sum(dict(part for way in ways for part in way.code).values())


def _by_kind(layers: Sequence[Layer]) -> list[list[int]]:
    """The indices of the layers of each kind."""
    kinds = dict.fromkeys(layer.kind for layer in layers)
    return [[i for i, layer in enumerate(layers) if layer.kind == kind] for kind in kinds]


def _best_within(layer: Layer, kernels: frozenset[str], price: float) -> int | None:
    able = [i for i, w in enumerate(layer.ways) if w.kernel in kernels]
    return min(able, key=lambda i: layer.ways[i].cost + price * layer.ways[i].constants, default=None)


def _sets(layers: Iterable[Layer]) -> list[frozenset[str]]:
    """Every set of the kernels of these layers, the large ones first."""
    names = sorted({w.kernel for layer in layers for w in layer.ways})
    return [frozenset(some) for n in range(len(names), 0, -1) for some in combinations(names, n)]


def _least(layer: Layer) -> int:
    """The constants that it takes whatever is chosen, which need no rounding to steps."""
    return min(w.constants for w in layer.ways)


class _Table(Generic[T]):
    """What several items cost together within 0 to `room` steps; each takes one of its offers: (steps, cost, name)."""

    def __init__(self, items: Sequence[Sequence[tuple[int, float, T]]], room: int) -> None:
        self.items, self.costs = items, np.zeros(room + 1)
        self.taken = np.zeros((len(items), room + 1), np.int64)
        for offers, taken in zip(items, self.taken, strict=True):
            least = np.full(room + 1, np.inf)
            for i, (steps, cost, _) in enumerate(offers):
                if steps <= room:
                    through = self.costs[: room + 1 - steps] + cost
                    better = np.flatnonzero(through < least[steps:])
                    least[better + steps], taken[better + steps] = through[better], i
            self.costs = least

    def picks(self, room: int) -> list[T]:
        """The names of the offers that are taken within so many steps, where any are."""
        found = []
        for offers, taken in zip(reversed(self.items), reversed(self.taken), strict=True):
            steps, _, name = offers[taken[room]]
            found.append(name)
            room -= steps
        return found[::-1]


def _offers(layers: Sequence[Layer], step: int, room: int) -> list[tuple[int, float, tuple[_Table[int], int]]]:
    """Of the layers of one kind: the sizes in steps, code included, at which they get faster; how is in the table."""
    found = []
    for kernels in _sets(layers):
        code = _code(w for layer in layers for w in layer.ways if w.kernel in kernels)
        items = [
            [
                (-(-(w.constants - _least(layer)) // step), float(w.cost), i)
                for i, w in enumerate(layer.ways)
                if w.kernel in kernels
            ]
            for layer in layers
        ]
        steps = -(-code // step)
        if steps <= room and all(items):
            table = _Table(items, room - steps)
            faster = np.flatnonzero(table.costs < np.append(np.inf, table.costs[:-1]))
            found += [(steps + at, float(table.costs[at]), (table, int(at))) for at in faster.tolist()]
    best, offers = np.inf, []
    for offer in sorted(found, key=lambda offer: offer[:2]):
        if offer[1] < best:
            best = offer[1]
            offers.append(offer)
    return offers
