"""What a model may take, and what is to be least: what is chosen for it, and what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from example_graphs import small_cnn
from example_target import BOARD, ROOMY

from pipeline.errors import RecipeError, TargetError
from pipeline.lowering.budget import NO_LIMIT, Budget, budget_of
from pipeline.lowering.lower import FIRMWARE_BYTES, Lowered, lower
from pipeline.lowering.sizes import check_fits

DEPTHWISE, IMAGE = "depthwise_conv2d_s8_3x3__dsp", "conv2d_s8_image__dsp"


def made(budget: Budget = NO_LIMIT, **memory: int) -> Lowered:
    return lower(small_cnn(), BOARD.cpu, replace(ROOMY, **memory), budget)


def cycles(lowered: Lowered) -> int:
    return sum(layer.chosen.cycles for layer in lowered.layers)


def reasons(lowered: Lowered, layer: int) -> dict[str, str]:
    return {c.variant.name: c.why for c in lowered.layers[layer].candidates}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("spead", None, None), r"no optimize = 'spead'\. Did you mean 'speed'\? Take one of speed, size, balanced\."),
        (("", None, None), r"no optimize = ''\. Take one of speed, size, balanced\."),
        (("speed", 0, None), r"model_flash_bytes = 0 leaves no room at all; give bytes, or leave it out\."),
        (("size", 1, -4), r"model_ram_bytes = -4 leaves no room at all"),
    ],
)
def test_what_is_no_budget(values: tuple[str, int | None, int | None], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        budget_of(*values)


def test_a_tighter_one_takes_the_excess_off_what_was_thought() -> None:
    budget = budget_of("balanced", 5000, None)
    assert budget == Budget("balanced", 5000)
    assert budget.tighter("FLASH", 300, flash_bytes=4000, arena_bytes=900) == Budget("balanced", 3700)
    assert budget.tighter("RAM", 300, flash_bytes=4000, arena_bytes=900) == Budget("balanced", 5000, 600)
    assert NO_LIMIT.tighter("FLASH", 300, flash_bytes=200, arena_bytes=9) == Budget(model_flash_bytes=1)
    assert NO_LIMIT.tighter("RAM", 300, flash_bytes=200, arena_bytes=9) == Budget(model_ram_bytes=1)


def test_what_is_to_be_least_is() -> None:
    speed, balanced, size = (made(budget_of(optimize, None, None)) for optimize in ("speed", "balanced", "size"))
    assert cycles(speed) < cycles(balanced) < cycles(size)
    assert speed.flash_bytes > balanced.flash_bytes > size.flash_bytes
    assert made().variants == speed.variants
    percent = 100 * (cycles(balanced) / cycles(speed) - 1)
    assert percent < 100 * (speed.flash_bytes - balanced.flash_bytes) / size.flash_bytes
    assert reasons(balanced, 6)["fully_connected_s8__dsp"].endswith(": not worth it for 'balanced'")
    assert reasons(size, 1) == {
        "depthwise_conv2d_s8": "about 67,748 cycles, with 144 bytes of constants",
        DEPTHWISE: "about 15,596 cycles, but +0 bytes of constants and its 2,608 of code: not worth it for 'size'",
        "depthwise_conv2d_s8_5x5__dsp": (
            "about 29,725 cycles, but +0 bytes of constants and its 1,700 of code: not worth it for 'size'"
        ),
    }


@pytest.mark.parametrize("optimize", ["speed", "balanced", "size"])
def test_no_choice_takes_more_flash_than_it_may(optimize: str) -> None:
    least, before = made(Budget("size")).flash_bytes, 10**9
    for limit in (least, 5000, 6000, 7000, 8000, 9000, 20_000):
        lowered = made(budget_of(optimize, limit, None))
        assert least <= lowered.flash_bytes <= limit
        assert cycles(lowered) <= before
        before = cycles(lowered)
    below = made(budget_of(optimize, least - 1, None))
    assert below.flash_bytes == least


def test_without_a_limit_it_is_the_targets_less_the_rest_of_the_firmware() -> None:
    limit = made().flash_bytes - 1
    tight = made(flash_bytes=FIRMWARE_BYTES + limit)
    assert tight.variants == made(Budget(model_flash_bytes=limit)).variants != made().variants
    # What is given is taken: it is the linker that says when the target has less.
    assert made(Budget(model_flash_bytes=limit + 1), flash_bytes=1024).variants == made().variants


def test_scratch_is_given_up_for_the_models_ram() -> None:
    whole = made()
    arena = whole.arena.arena_bytes
    assert made(Budget(model_ram_bytes=arena)).variants == whole.variants
    tight = made(Budget(model_ram_bytes=arena - 1))
    assert tight.arena.arena_bytes < arena
    assert cycles(tight) > cycles(whole)
    assert (whole.variants[1], tight.variants[1]) == (DEPTHWISE, "depthwise_conv2d_s8")
    assert whole.variants[0] == tight.variants[0] == IMAGE  # whose scratch is not at the peak
    assert reasons(tight, 1) == {
        "depthwise_conv2d_s8": "the only one possible",
        DEPTHWISE: "the RAM has no room for its 640 bytes of scratch beside the activations",
        "depthwise_conv2d_s8_5x5__dsp": "the RAM has no room for its 768 bytes of scratch beside the activations",
    }


def test_a_budget_that_nothing_fits_is_refused_before_anything_is_built() -> None:
    flash = (
        r"1,000 bytes of flash for constants and code: with the smallest kernels it takes more than 1,573, most of it in "
        r"the layers 7 'probabilities' \(softmax\) 1,024, .* \(constants\)\. .*--model-flash"
    )
    ram = (
        r"1,000 bytes of RAM for activations and scratch: with the smallest kernels it takes 1,056, most of it in the "
        r"layers 2 'pw' \(conv2d\) 1,056, .* \(in use at once\)\. .*model_ram_bytes in \[codegen"
    )
    for budget, said in ((Budget(model_flash_bytes=1000), flash), (Budget(model_ram_bytes=1000), ram)):
        lowered = made(budget)
        with pytest.raises(TargetError, match=rf"Model 'small_cnn' can not do with {said}"):
            check_fits(lowered.graph, lowered.arena, lowered.sizes, BOARD, budget)
        check_fits(lowered.graph, lowered.arena, lowered.sizes, BOARD)
