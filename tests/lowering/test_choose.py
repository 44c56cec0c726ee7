"""The knapsack over layers, against all choices that there are."""

from __future__ import annotations

import random
from itertools import product

import pytest

from pipeline.lowering.choose import STEPS, Choice, Layer, Way, at_price, balanced, cost, fastest, flash, smallest

SEEDS = range(150)
Code = tuple[tuple[str, int], ...]
MARGIN = 1.02  # of the fewest cycles: sizes are rounded up to steps of the flash
BYTES = {"bytes": 300, "steps": 6000}  # of the largest constants: what the layers may take is less than STEPS, or more


def instance(seed: int, largest: int = 6000) -> list[Layer]:
    """A few layers of up to three kinds; a kind's kernels have codes of their own, some share a part, and not every layer
    can have each."""
    rng = random.Random(seed)
    parts = {kind: (f"part of {kind}", rng.randrange(largest // 2)) for kind in "abc"}

    def kernel(kind: str, i: int) -> tuple[str, Code]:
        name = f"{kind}{i}"
        own = (name, rng.randrange(largest // 2))
        return name, (own, parts[kind]) if rng.random() < 0.5 else (own,)

    kernels = {kind: [kernel(kind, i) for i in range(rng.randint(1, 4))] for kind in "abc"}

    def ways(kind: str) -> tuple[Way, ...]:
        able = rng.sample(kernels[kind], rng.randint(1, len(kernels[kind])))
        return tuple(Way(rng.randrange(1, 10 ** rng.randint(3, 6)), rng.randrange(largest), *kernel) for kernel in able)

    return [Layer(kind, ways(kind)) for kind in rng.choices("abc", k=rng.randint(1, 6))]


def every(layers: list[Layer]) -> list[Choice]:
    return list(product(*(range(len(layer.ways)) for layer in layers)))


@pytest.mark.parametrize("size", BYTES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_fastest_that_fits(seed: int, size: str) -> None:
    """Exactly, where each byte is a step; else at least as fast as all that leave free what rounding may take."""
    layers, rng = instance(seed, BYTES[size]), random.Random(seed)
    sizes = sorted(flash(layers, choice) for choice in every(layers))
    for limit in (sizes[0] - 1, sizes[0], rng.randint(sizes[0], sizes[-1]), rng.choice(sizes), sizes[-1]):
        choice = fastest(layers, limit)
        fits = [cost(layers, other) for other in every(layers) if flash(layers, other) <= limit]
        if not fits:
            assert choice == smallest(layers)
            continue
        assert flash(layers, choice) <= limit
        rounded = (len(layers) + len({layer.kind for layer in layers}) + 1) * (-(-limit // STEPS) - 1)
        surely = [cost(layers, other) for other in every(layers) if flash(layers, other) <= limit - rounded]
        assert cost(layers, choice) <= min(surely, default=cost(layers, smallest(layers)))
        assert rounded or cost(layers, choice) == min(fits)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_least_at_a_price(seed: int) -> None:
    layers = instance(seed)
    pairs = [(flash(layers, choice), cost(layers, choice)) for choice in every(layers)]
    found = smallest(layers)
    assert (flash(layers, found), cost(layers, found)) == min(pairs)
    assert cost(layers, at_price(layers, 0)) == min(c for _, c in pairs)
    for price in (0.5, 3, 200):
        found = at_price(layers, price)
        assert cost(layers, found) + price * flash(layers, found) == min(c + price * f for f, c in pairs)
    price = min(c for _, c in pairs) / max(min(f for f, _ in pairs), 1)
    assert balanced(layers) == at_price(layers, price)


def way(cost: int, constants: int, kernel: str, code: int) -> Way:
    return Way(cost, constants, kernel, ((kernel, code),))


SMALL, FAST = way(9, 10, "small", 5), way(1, 20, "fast", 100)


def test_a_part_that_two_kernels_have_is_counted_once() -> None:
    part = ("part", 80)
    layers = [Layer("a", (Way(1, 0, f"k{i}", ((f"k{i}", 10), part)), way(9, 0, "small", 40))) for i in range(2)]
    assert flash(layers, (0, 0)) == 10 + 10 + 80
    assert fastest(layers, 100) == (0, 0)
    assert fastest(layers, 99) == (1, 1)


def test_a_kernels_code_is_counted_once() -> None:
    layers = [Layer("a", (SMALL, FAST))] * 3
    assert flash(layers, (1, 1, 1)) == 3 * 20 + 100
    assert flash(layers, (0, 1, 1)) == 10 + 2 * 20 + 5 + 100
    assert fastest(layers, 160) == (1, 1, 1)
    assert sorted(fastest(layers, 159)) == [0, 1, 1]  # one byte less: both codes, for one layer's smaller constants
    assert sorted(fastest(layers, 154)) == [0, 0, 1]
    assert fastest(layers, 144) == (0, 0, 0)
    assert smallest(layers) == (0, 0, 0)


def test_a_code_that_all_layers_share_can_be_the_smallest() -> None:
    """Alone, a layer's own kernel is the smaller one; together they do better with one for all."""
    layers = [Layer("a", (way(1, 0, f"own{i}", 50), way(9, 10, "shared", 70))) for i in range(3)]
    assert smallest(layers) == (1, 1, 1)
    assert smallest(layers[:1]) == (0,)
    assert fastest(layers, 150) == (0, 0, 0)
    assert sorted(fastest(layers, 149)) == [0, 1, 1]
    assert fastest(layers, 139) == (1, 1, 1)


def test_of_equal_ways_the_first() -> None:
    layers = [Layer("a", (way(5, 8, "x", 3), way(5, 8, "y", 3)))]
    assert fastest(layers, 100) == fastest(layers, 11) == smallest(layers) == balanced(layers) == (0,)


def test_many_layers_are_divided_within_the_margin() -> None:
    """More bytes than steps: each layer is rounded up, and yet nearly all of the flash is used."""
    rng = random.Random(0)
    layers = [
        Layer("a", tuple(way(rng.randrange(10**5, 10**6), rng.randrange(1000, 40_000), f"k{i}", 2000) for i in range(4)))
        for _ in range(40)
    ]
    least, most = flash(layers, smallest(layers)), flash(layers, at_price(layers, 0))
    before = cost(layers, smallest(layers))
    for tenth in range(1, 10):
        limit = least + (most - least) * tenth // 10
        choice = fastest(layers, limit)
        assert 0.97 * limit < flash(layers, choice) <= limit
        assert cost(layers, choice) < before
        before = cost(layers, choice)
        # A bound that no choice is below: the fewest cycles + price * bytes, at any price.
        found = [(p, at_price(layers, p)) for p in (3, 10, 20, 30, 50, 100, 200)]
        bound = max(cost(layers, c) + p * (flash(layers, c) - limit) for p, c in found)
        assert cost(layers, choice) <= MARGIN * bound
