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
from pipeline.lowering.lower import Layer, lower
from pipeline.lowering.sizes import constant_bytes, known_ram
from pipeline.ops.add import Add
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.sub import Sub
from pipeline.target import Memory

POINTWISE, IM2COL = "conv2d_s8_1x1__dsp", "conv2d_s8_im2col__dsp"
DEPTHWISE = "depthwise_conv2d_s8_3x3__dsp"
CORTEX_M = [name for name in targets.names() if targets.load(name).family == "cortex_m"]


def chosen(layers: tuple[Layer, ...]) -> list[str]:
    return [layer.chosen.name for layer in layers]


def said(layer: Layer) -> dict[str, str]:
    return {c.variant.name: c.why for c in layer.candidates}


def test_the_fastest_is_chosen_and_the_reasons_are_kept() -> None:
    layers = lower(small_cnn(), BOARD.cpu, ROOMY).layers
    assert chosen(layers)[:4] == [IM2COL, DEPTHWISE, POINTWISE, "add_s8_dense"]
    stem, _, pointwise = layers[:3]
    slow, _, fast = (v.cost for v in stem.op.variants(small_cnn()))
    assert said(stem) == {
        "conv2d_s8": f"about {slow:,} instructions, {IM2COL} takes {fast:,}",
        POINTWISE: "its weights are 3x3, not 1x1",
        IM2COL: f"about {fast:,} instructions, the fewest",
    }
    slow, fast, slower = (v.cost for v in pointwise.op.variants(small_cnn()))
    assert said(pointwise) == {
        "conv2d_s8": f"about {slow:,} instructions, {POINTWISE} takes {fast:,}",
        POINTWISE: f"about {fast:,} instructions, the fewest",
        IM2COL: f"about {slower:,} instructions, {POINTWISE} takes {fast:,}",
    }
    assert [c.possible for c in stem.candidates] == [True, False, True]
    assert slow > slower > fast > 0


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
    needed = constant_bytes(whole.sizes) + sum(layer.chosen.code_bytes for layer in whole.layers)
    assert chosen(lower(graph, BOARD.cpu, replace(ROOMY, flash_bytes=needed)).layers)[::2][:2] == [IM2COL, POINTWISE]
    tight = lower(graph, BOARD.cpu, replace(ROOMY, flash_bytes=needed - 1))
    assert chosen(tight.layers)[::2][:2] == ["conv2d_s8", POINTWISE]
    assert said(tight.layers[0])[IM2COL] == "the flash has no room for about 2,632 bytes more of code"


def test_what_never_fits_is_lowered_to_the_smallest() -> None:
    nothing = Memory(flash_bytes=1024, ram_bytes=1024)
    assert set(chosen(lower(small_cnn(), BOARD.cpu, nothing).layers)) <= {
        v.name for op in small_cnn().ops for v in op.variants(small_cnn())[:1]
    }


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
        "w": weights(np.random.default_rng(1), 32, 1, 1, 16),
        "y": activation(1, 1, 1, 32),
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
    assert chosen(lower(graph, PLAIN, replace(ROOMY, flash_bytes=100)).layers) == ["fast"] * 2
    assert chosen(lower(graph, PLAIN, replace(ROOMY, flash_bytes=99)).layers) == ["small"] * 2


def test_of_two_the_longer_code_goes_first() -> None:
    graph = chain(1, variant("small", 3), variant("fast", 2, code=60), variant("faster", 1, code=100))
    layer = lower(graph, PLAIN, replace(ROOMY, flash_bytes=80)).layers[0]
    assert layer.chosen.name == "fast"
    assert said(layer)["faster"] == "the flash has no room for about 100 bytes more of code"


REFUSED = {  # shapes, attributes, and why not: the pointwise variant, that of any window
    "window": ({"w": (4, 3, 1, 4)}, {}, "its weights are 3x1, not 1x1", None),
    "stride": ({"y": (1, 3, 3, 4)}, {"stride": (2, 2)}, "it has a stride or padding", None),
    "padding": ({"y": (1, 6, 5, 4)}, {"pads": (0, 1, 0, 0)}, "it has a stride or padding", None),
    "groups": ({"x": (1, 5, 5, 8)}, {}, "it has groups", "it has groups"),
    "inputs": ({"x": (1, 5, 5, 6), "w": (4, 1, 1, 6)}, {}, None, None),
    "outputs": ({"w": (3, 1, 1, 4), "y": (1, 5, 5, 3)}, {}, None, None),
    "fits": ({}, {}, None, None),
}


def one_convolution(shapes: dict[str, tuple[int, ...]], weight: int = 0, y_scale: float = 1.0, **attributes: Any) -> Graph:
    shapes = {"x": (1, 5, 5, 4), "w": (4, 1, 1, 4), "y": (1, 5, 5, 4), **shapes}
    tensors = {n: Tensor(s, "int8", Quant((0.1,))) for n, s in shapes.items()}
    tensors["w"] = replace(tensors["w"], data=np.full(shapes["w"], weight, np.int8))
    tensors["y"] = replace(tensors["y"], quant=Quant((y_scale,)))
    return Graph("g", tensors, (Conv2d(inputs=("x", "w"), outputs=("y",), **attributes),), ("x",), ("y",))


@pytest.mark.parametrize("case", REFUSED)
def test_where_the_faster_variants_are_possible(case: str) -> None:
    shapes, attributes, *why = REFUSED[case]
    graph = one_convolution(shapes, **attributes)
    assert [v.refused for v in graph.ops[0].variants(graph)] == [None, *why]


NUMBERS = {
    "weight": (one_convolution({}, weight=-128), "a weight is -128, which two channels in one halfword have no room for"),
    "sums": (one_convolution({"x": (1, 5, 5, 520), "w": (4, 1, 1, 520)}, weight=127), "its sums can reach 8,388,608"),
    "up": (one_convolution({}, y_scale=0.001), "a requantisation shifts by 4, not by -1 to -22"),
    "away": (one_convolution({}, y_scale=1e6), "a requantisation shifts by -26, not by -1 to -22"),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_that_pairs_of_pixels_have_no_registers_for(case: str) -> None:
    graph, why = NUMBERS[case]
    assert [v.refused for v in graph.ops[0].variants(graph)] == [None, why, why]
    assert lower(graph, BOARD.cpu, ROOMY).layers[0].chosen.name == "conv2d_s8"


def test_constants_are_proven_where_an_activation_cuts_off_what_is_negative() -> None:
    """The stream of each four channels says which way it goes, after four start values and the weights."""
    for clamp, proven in (("none", 0), ("relu", 1), ("relu6", 1), ("relu_n1_to_1", 0)):
        op = replace(small_cnn().ops[2], activation=clamp)
        graph = Graph("g", small_cnn().tensors, (op,), op.inputs[:1], op.outputs)
        pair = lower(graph, BOARD.cpu, ROOMY).layers[0].kernels[0].params["pair"]
        words = 4 * pair["fours"] + 17
        assert pair["stream"][words - 13 :: words].tolist() == [proven] * 2, clamp


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
