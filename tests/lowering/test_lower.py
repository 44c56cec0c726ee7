"""What is chosen for which core and memory, and what is said of the others."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_graphs import activation, random_inputs, small_cnn, weights
from example_target import BOARD, PLAIN, ROOMY, host_c

from pipeline import target as targets
from pipeline.errors import TargetError
from pipeline.host.build import require_core
from pipeline.ir import Array, Graph, Op, Quant, Tensor, TfliteNode
from pipeline.kernel import Kernel, Variant
from pipeline.lowering.budget import Budget
from pipeline.lowering.lower import FIRMWARE_BYTES, Layer, lower
from pipeline.lowering.sizes import known_ram
from pipeline.ops.add import Add
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.sub import Sub
from pipeline.target import Memory

POINTWISE, IM2COL, IMAGE = "conv2d_s8_1x1__dsp", "conv2d_s8_im2col__dsp", "conv2d_s8_image__dsp"
WINOGRAD2, WINOGRAD4 = "conv2d_s8_winograd2__dsp", "conv2d_s8_winograd4__dsp"
DEPTHWISE = "depthwise_conv2d_s8_3x3__dsp"
CORTEX_M = [name for name in targets.names() if targets.load(name).family == "cortex_m"]


def chosen(layers: tuple[Layer, ...]) -> list[str]:
    return [layer.chosen.name for layer in layers]


def said(layer: Layer) -> dict[str, str]:
    return {c.variant.name: c.why for c in layer.candidates}


def test_the_fastest_is_chosen_and_the_reasons_are_kept() -> None:
    layers = lower(small_cnn(), BOARD.cpu, ROOMY).layers
    assert chosen(layers)[:4] == [IMAGE, DEPTHWISE, POINTWISE, "add_s8_dense"]
    for layer, refused in (
        (layers[0], {POINTWISE: "its weights are 3x3, not 1x1"}),
        (layers[2], dict.fromkeys((WINOGRAD2, WINOGRAD4), "it is no 3x3 convolution of stride 1")),
    ):
        best, name = layer.chosen.cycles, layer.chosen.name
        slower = {v.name: v.cycles for v in layer.op.variants(small_cnn()) if v.refused is None and v.name != name}
        assert said(layer) == {
            **{other: f"about {cost:,} cycles, {name} takes {best:,}" for other, cost in slower.items()},
            **refused,
            name: f"about {best:,} cycles, the fewest",
        }
        assert {c.variant.name: c.possible for c in layer.candidates} == {n: n not in refused for n in said(layer)}
        assert min(slower.values()) > best > 0


def test_a_core_without_the_feature_gets_the_general_one() -> None:
    layer = lower(small_cnn(), PLAIN, ROOMY).layers[2]
    assert layer.chosen.name == "conv2d_s8"
    assert said(layer)[POINTWISE] == "the core has no dsp"


def test_scratch_that_the_ram_can_not_hold_is_done_without() -> None:
    graph = small_cnn()
    whole = lower(graph, BOARD.cpu, ROOMY)
    needed = sum(known_ram(graph, whole.arena, ROOMY).values())
    assert whole.arena.scratch[1].nbytes == whole.sizes[1].scratch_bytes == 5 * 128
    assert whole.arena.scratch[2].nbytes == whole.sizes[2].scratch_bytes == 4 * 8
    assert chosen(lower(graph, BOARD.cpu, replace(ROOMY, ram_bytes=needed)).layers)[1] == DEPTHWISE
    tight = lower(graph, BOARD.cpu, replace(ROOMY, ram_bytes=needed - 1))
    assert chosen(tight.layers)[1:3] == ["depthwise_conv2d_s8", POINTWISE]
    assert set(whole.arena.scratch) == {0, 1, 2, 6}
    assert set(tight.arena.scratch) == {0, 2, 6}
    assert said(tight.layers[1])[DEPTHWISE] == ("the RAM has no room for its 640 bytes of scratch beside the activations")


def test_code_that_the_flash_can_not_hold_is_done_without() -> None:
    graph = small_cnn()
    whole = lower(graph, BOARD.cpu, ROOMY)
    needed = FIRMWARE_BYTES + whole.flash_bytes
    assert lower(graph, BOARD.cpu, replace(ROOMY, flash_bytes=needed)).variants == whole.variants
    tight = lower(graph, BOARD.cpu, replace(ROOMY, flash_bytes=needed - 1))
    assert tight.flash_bytes < whole.flash_bytes
    assert chosen(tight.layers)[:3] == chosen(whole.layers)[:3]  # where a byte less costs the fewest cycles
    assert chosen(tight.layers)[6] == "fully_connected_s8"
    assert said(tight.layers[6])["fully_connected_s8__dsp"].endswith(" of code: more than there is room for")
    tighter = lower(graph, BOARD.cpu, replace(ROOMY, flash_bytes=needed - 3000))
    assert tighter.flash_bytes <= whole.flash_bytes - 3000
    fallen_back = [i for i in range(3) if tighter.variants[i] != whole.variants[i]]
    assert fallen_back
    for i in fallen_back:
        assert said(tighter.layers[i])[whole.variants[i]].endswith("of code: more than there is room for")


def test_what_never_fits_is_lowered_to_the_smallest() -> None:
    graph = small_cnn()
    smallest = lower(graph, BOARD.cpu, replace(ROOMY, flash_bytes=1024))
    assert smallest.variants == lower(graph, BOARD.cpu, ROOMY, Budget("size")).variants
    assert chosen(smallest.layers)[:3] == ["conv2d_s8", "depthwise_conv2d_s8", "conv2d_s8"]
    nothing = lower(graph, BOARD.cpu, Memory(flash_bytes=1024, ram_bytes=1024))
    assert chosen(nothing.layers)[:3] == ["conv2d_s8", "depthwise_conv2d_s8", POINTWISE]  # which writes over its input
    assert nothing.arena.arena_bytes < smallest.arena.arena_bytes
    assert said(nothing.layers[2])["conv2d_s8"] == "the RAM has no room for its output beside its inputs"


@pytest.mark.parametrize("cpu", [BOARD.cpu, PLAIN], ids=lambda cpu: cpu.core)
def test_every_choice_gives_the_same_bytes(cpu: targets.Cpu) -> None:
    graph = small_cnn()
    x = random_inputs(graph, 20)
    with host_c(lower(graph, cpu, ROOMY)) as host:
        np.testing.assert_array_equal(host.run(*x)[0], graph.run(*x)[0])


def test_of_an_odd_pixel_nothing_behind_it_is_read() -> None:
    """The image is the last in the arena, and ends where that ends: the sanitizer sees a step further."""
    tensors = {
        "x": activation(1, 1, 1, 16),
        "w": weights(np.random.default_rng(1), 16, 1, 1, 16),
        "y": activation(1, 1, 1, 16),
    }
    graph = Graph("pixel", tensors, (Conv2d(inputs=("x", "w"), outputs=("y",)),), ("x",), ("y",)).checked()
    made = lower(graph, BOARD.cpu, ROOMY)
    assert chosen(made.layers) == [POINTWISE]
    assert made.arena.slots["x"].offset + 16 == made.arena.arena_bytes
    x = random_inputs(graph, 5)
    with host_c(made) as host:
        np.testing.assert_array_equal(host.run(*x)[0], graph.run(*x)[0])


@dataclass(frozen=True, kw_only=True)
class Two(Op):
    """An operator with variants as a test wants them."""

    offered: tuple[Variant, ...]

    def check(self, graph: Graph) -> None:
        return

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        raise NotImplementedError

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        raise NotImplementedError

    def variants(self, graph: Graph) -> tuple[Variant, ...]:
        return self.offered

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        raise NotImplementedError


def variant(name: str, cost: int, scratch: int = 0, code: int = 0) -> Variant:
    return Variant(name, (Kernel(name, {}, ("x",), ("y",), scratch),), cost, code_bytes=code)


def chain(count: int, *offered: Variant, sizes: tuple[int, ...] = ()) -> Graph:
    sizes = sizes or (16,) * (count + 1)
    tensors = {f"t{i}": Tensor((n,), "int8", Quant((1.0,))) for i, n in enumerate(sizes)}
    ops = tuple(Two(inputs=(f"t{i}",), outputs=(f"t{i + 1}",), offered=offered) for i in range(count))
    return Graph("chain", tensors, ops, ("t0",), (f"t{count}",)).checked()


def within(graph: Graph, flash_bytes: int) -> tuple[Layer, ...]:
    return lower(graph, PLAIN, ROOMY, Budget(model_flash_bytes=flash_bytes)).layers


def test_of_equally_fast_ones_the_first_is_taken() -> None:
    assert chosen(lower(chain(1, variant("a", 5), variant("b", 5)), PLAIN, ROOMY).layers) == ["a"]


def test_scratch_goes_first_where_the_arena_is_fullest() -> None:
    graph = chain(3, variant("small", 2), variant("fast", 1, scratch=64), sizes=(16, 16, 128, 16))
    whole = lower(graph, PLAIN, ROOMY)
    assert chosen(whole.layers) == ["fast"] * 3
    short = sum(known_ram(graph, whole.arena, ROOMY).values()) - 1
    assert chosen(lower(graph, PLAIN, replace(ROOMY, ram_bytes=short)).layers) == ["fast", "small", "small"]


def test_code_is_left_out_of_all_layers_or_of_none() -> None:
    graph = chain(2, variant("small", 2), variant("fast", 1, code=100))
    assert chosen(within(graph, 100)) == ["fast"] * 2
    assert chosen(within(graph, 99)) == ["small"] * 2


def test_of_two_the_longer_code_goes_first() -> None:
    graph = chain(1, variant("small", 3), variant("fast", 2, code=60), variant("faster", 1, code=100))
    (layer,) = within(graph, 80)
    assert layer.chosen.name == "fast"
    assert said(layer)["faster"] == (
        "about 1 cycles, but +0 bytes of constants and its 100 of code: more than there is room for"
    )


TILES = "it is no 3x3 convolution of stride 1"
REFUSED = {  # shapes, attributes, and why not: the pointwise variants, those of any window, those of tiles
    "window": ({"w": (4, 3, 1, 4)}, {}, "its weights are 3x1, not 1x1", None, TILES),
    "stride": ({"y": (1, 3, 3, 4)}, {"stride": (2, 2)}, "it has a stride or padding", None, TILES),
    "3x3": ({"w": (4, 3, 3, 4)}, {"pads": (1, 1, 1, 1)}, "its weights are 3x3, not 1x1", None, None),
    "3x3 stride": ({"w": (4, 3, 3, 4), "y": (1, 5, 3, 4)}, {"pads": (1, 1, 1, 1), "stride": (1, 2)},
                   "its weights are 3x3, not 1x1", None, TILES),
    "3x3 apart": ({"w": (4, 3, 3, 4)}, {"pads": (2, 2, 2, 2), "dilation": (2, 2)},
                  "its weights are 3x3, not 1x1", None, TILES),
    "3x3 groups": ({"x": (1, 5, 5, 8), "w": (4, 3, 3, 4)}, {"pads": (1, 1, 1, 1)},
                   "its weights are 3x3, not 1x1", "it has groups", "it has groups"),
    "padding": ({"y": (1, 6, 5, 4)}, {"pads": (0, 1, 0, 0)}, "it has a stride or padding", None, TILES),
    "groups": ({"x": (1, 5, 5, 8)}, {}, "it has groups", "it has groups", TILES),
    "inputs": ({"x": (1, 5, 5, 6), "w": (4, 1, 1, 6)}, {}, None, None, TILES),
    "outputs": ({"w": (3, 1, 1, 4), "y": (1, 5, 5, 3)}, {}, None, None, TILES),
    "fits": ({}, {}, None, None, TILES),
}  # fmt: skip


def one_convolution(
    shapes: dict[str, tuple[int, ...]], weight: int = 0, y_scale: float = 1.0, y_zero: int = 0, **attributes: Any
) -> Graph:
    shapes = {"x": (1, 5, 5, 4), "w": (4, 1, 1, 4), "y": (1, 5, 5, 4), **shapes}
    tensors = {n: Tensor(s, "int8", Quant((0.1,))) for n, s in shapes.items()}
    tensors["w"] = replace(tensors["w"], data=np.full(shapes["w"], weight, np.int8))
    tensors["y"] = replace(tensors["y"], quant=Quant((y_scale,), y_zero))
    return Graph("g", tensors, (Conv2d(inputs=("x", "w"), outputs=("y",), **attributes),), ("x",), ("y",))


@pytest.mark.parametrize("case", REFUSED)
def test_where_the_faster_variants_are_possible(case: str) -> None:
    shapes, attributes, pointwise, any_window, tiles = REFUSED[case]
    graph = one_convolution(shapes, activation="relu", y_zero=-128, **attributes)
    found = refusals(graph)
    window = IMAGE if shapes.get("w", (4, 1, 1, 4))[2:] == (1, 6) else IM2COL  # runs that are no fours of values
    assert found == {"conv2d_s8": None, POINTWISE: pointwise, window: any_window, WINOGRAD2: tiles, WINOGRAD4: tiles}


def refusals(graph: Graph) -> dict[str, str | None]:
    return {v.name: v.refused for v in graph.ops[0].variants(graph)}


NUMBERS = {
    "weight": (one_convolution({}, weight=-128), "a weight is -128, which two channels in one halfword have no room for"),
    "sums": (one_convolution({"x": (1, 5, 5, 520), "w": (4, 1, 1, 520)}, weight=127), "its sums can reach 8,388,608"),
    "up": (one_convolution({}, y_scale=0.001), "a requantisation shifts by 4, not by -1 to -22"),
    "away": (one_convolution({}, y_scale=1e6), "a requantisation shifts by -26, not by -1 to -22"),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_that_pairs_of_pixels_have_no_registers_for(case: str) -> None:
    graph, why = NUMBERS[case]
    found = refusals(graph)
    assert found[POINTWISE] == found[IM2COL] == why
    assert lower(graph, BOARD.cpu, ROOMY).layers[0].chosen.name == "conv2d_s8"


def three_by_three(inputs: int, weight: int, y_scale: float = 1.0) -> Graph:
    shapes = {"x": (1, 3, 3, inputs), "w": (4, 3, 3, inputs), "y": (1, 1, 1, 4)}
    return one_convolution(shapes, weight=weight, y_scale=y_scale)


TRANSFORMS = {  # tiles of two, tiles of four
    "most": (three_by_three(115, 127), None, None),
    "sums": (three_by_three(116, 127), None, "its sums can reach 33,809,940, and 64 times that needs more than 32 bits"),
    "up": (three_by_three(1, 1, y_scale=0.001), *["a requantisation shifts by 4, not by -1 to -22"] * 2),
    "away": (three_by_three(1, 1, y_scale=1e6), *["a requantisation shifts by -26, not by -1 to -22"] * 2),
}


@pytest.mark.parametrize("case", TRANSFORMS)
def test_numbers_that_tiles_have_no_registers_for(case: str) -> None:
    graph, *why = TRANSFORMS[case]
    assert [refusals(graph)[name] for name in (WINOGRAD2, WINOGRAD4)] == why


def test_constants_are_proven_where_an_activation_cuts_off_what_is_negative() -> None:
    """The stream of each four channels says which way it goes, after four start values and the weights."""
    for clamp, proven in (("none", 0), ("relu", 1), ("relu6", 1), ("relu_n1_to_1", 0)):
        op = replace(small_cnn().ops[2], activation=clamp)
        graph = Graph("g", small_cnn().tensors, (op,), op.inputs[:1], op.outputs)
        pair = next(v for v in op.variants(graph) if v.name == POINTWISE).kernels[0].params["pair"]
        kinds, at = [], 0
        while at < pair["words"]:
            at += 4 + 4 * pair["fours"]
            kinds.append(int(pair["stream"][at]))
            at += 9 if kinds[-1] else 13
        assert kinds == [proven] * 2, clamp
        assert at == len(pair["stream"])


SUMS = {
    "of_one_shape": ((1, 4, 3), 0.0513, None),
    "broadcast": ((1, 1, 3), 0.0513, "an operand is broadcast"),
    "halves": ((1, 4, 3), 0.05, "no constants give its answers in one rounding"),
}


@pytest.mark.parametrize("op", [Add, Sub])
@pytest.mark.parametrize("case", SUMS)
def test_where_sums_are_planes(case: str, op: type[Add] | type[Sub]) -> None:
    shape, a_scale, why = SUMS[case]
    tensors = {
        "a": activation(1, 4, 3, scale=a_scale, zero=3),
        "b": activation(*shape, scale=0.03, zero=-7),
        "y": activation(1, 4, 3, scale=0.06),
    }
    graph = Graph("g", tensors, (op(inputs=("a", "b"), outputs=("y",)),), ("a", "b"), ("y",)).checked()
    layer = lower(graph, PLAIN, ROOMY).layers[0]
    assert [c.variant.refused for c in layer.candidates] == [None, why]
    assert layer.chosen.name == ("add_s8" if why else "add_s8_dense")


def test_nothing_but_the_lowering_asks_for_kernels() -> None:
    folder = Path(targets.__file__).parent
    asking = {
        path.relative_to(folder).parts[0]
        for path in folder.rglob("*.py")
        if re.search(r"\.(kernels|variants|general)\(", path.read_text(encoding="utf-8"))
    }
    assert asking == {"ir.py", "ops", "lowering"}


def test_a_firmware_is_lowered_at_one_place() -> None:
    folder = Path(targets.__file__).parent
    calls = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*.py"))
        for _ in re.finditer(r"(?<![.\w])(?<!def )lower\(", path.read_text(encoding="utf-8"))
    ]
    assert calls == ["firmware/cortex_m.py"]


@pytest.mark.cross
@pytest.mark.parametrize("name", CORTEX_M)
def test_a_target_names_exactly_the_features_that_its_core_has(name: str) -> None:
    target = targets.load(name)
    require_core(target)
    every = replace(target, cpu=replace(target.cpu, isa=("dsp",)))
    if every != target:
        with pytest.raises(TargetError, match=r"cpu\.isa names dsp, which the core has not"):
            require_core(every)
