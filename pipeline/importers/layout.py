"""How torch's axes lie in memory: shapes in torch's order of axes, and the order in which these are stored. Pure arithmetic.

`order[i]` is the torch axis that stored axis i is. Axes of size 1 may stand anywhere without moving a byte.
"""

from __future__ import annotations

from collections.abc import Iterable

Axes = tuple[int, ...]


def channels_last(rank: int) -> Axes:
    """Batch, space, channels."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def plain(rank: int) -> Axes:
    return tuple(range(rank))


def same_bytes(shape: Axes, a: Axes, b: Axes) -> bool:
    """Whether two orders of the same axes store the same bytes."""
    return _wide(shape, a) == _wide(shape, b)


def _wide(shape: Axes, axes: Iterable[int]) -> list[int]:
    return [i for i in axes if shape[i] != 1]


def regroup(old: Axes, new: Axes) -> list[tuple[Axes, Axes]]:
    """The smallest groups of neighbouring axes that a reshape turns into each other; axes of size 1 are left out."""
    left, right = _wide(old, range(len(old))), _wide(new, range(len(new)))
    groups = []
    while left:
        a, b = [left.pop(0)], [right.pop(0)]
        size_a, size_b = old[a[0]], new[b[0]]
        while size_a != size_b:
            if size_a < size_b:
                a.append(left.pop(0))
                size_a *= old[a[-1]]
            else:
                b.append(right.pop(0))
                size_b *= new[b[-1]]
        groups.append((tuple(a), tuple(b)))
    return groups


def reshape_order(shape: Axes, order: Axes, new: Axes) -> Axes | None:
    """The order in which a reshape to `new` finds its axes stored, if no byte has to move; else None."""
    at = {axis: i for i, axis in enumerate(_wide(shape, order))}
    found: list[tuple[int, Axes]] = []
    for before, after in regroup(shape, new):
        places = [at[axis] for axis in before]
        if places != list(range(places[0], places[0] + len(places))):
            return None
        found.append((places[0], after))
    stored = [axis for _, after in sorted(found) for axis in after]
    rank = len(new)
    for usual in (channels_last(rank), plain(rank)) if rank == 4 else (plain(rank), channels_last(rank)):
        if _wide(new, usual) == stored:
            return usual
    return (*(axis for axis in range(rank) if new[axis] == 1), *stored)


def mergeable_order(shape: Axes, order: Axes, new: Axes) -> Axes:
    """The order nearest to `order` from which a reshape to `new` moves no byte."""
    group_of = {axis: before for before, _ in regroup(shape, new) for axis in before}
    stored: list[int] = []
    for axis in _wide(shape, order):
        if axis not in stored:
            stored.extend(group_of[axis])
    return (*(axis for axis in range(len(shape)) if shape[axis] == 1), *stored)


def moves(shape: Axes, order: Axes, target: Axes) -> tuple[Axes, Axes]:
    """(shape, permutation) of the smallest transposition that turns storage in `order` into storage in `target`: axes of
    size 1 are dropped, axes that stay together are one."""
    runs: list[list[int]] = []
    source = _wide(shape, order)
    for axis in _wide(shape, target):
        together = runs and source.index(axis) == source.index(runs[-1][-1]) + 1
        if together:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    stored = sorted(runs, key=lambda run: source.index(run[0]))
    sizes = []
    for run in stored:
        size = 1
        for axis in run:
            size *= shape[axis]
        sizes.append(size)
    return tuple(sizes), tuple(stored.index(run) for run in runs)


def halfway(shape: Axes, order: Axes, target: Axes) -> Axes:
    """`order` with one more run of axes at its place at the end of `target`: to get there is a move of at most four runs."""
    source, wanted = _wide(shape, order), _wide(shape, target)
    end = len(wanted)
    while end and wanted[end - 1] == source[end - 1]:
        end -= 1
    start = max(end - 1, 0)
    while start and source.index(wanted[start]) == source.index(wanted[start - 1]) + 1:
        start -= 1
    tail = wanted[start:]
    return (*(i for i in order if i not in tail), *tail)
