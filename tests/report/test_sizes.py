"""One unit for sizes wherever they are shown: 1 KiB is 1,024 bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from finished import small_graph

from pipeline import target
from pipeline.display import byte_size
from pipeline.errors import TargetError
from pipeline.lowering.lower import lower
from pipeline.lowering.sizes import check_fits

CORTEX_M4 = target.load("cortex-m4")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1_023, "1,023 B"),
        (1_024, "1 KiB"),
        (18_256, "17.8 KiB"),
        (262_144, "256 KiB"),
        (1_023_500, "0.976 MiB"),
        (2_097_152, "2 MiB"),
    ],
)
def test_sizes_are_powers_of_1024(count: int, text: str) -> None:
    assert byte_size(count) == text


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (
            {"flash_bytes": 256},
            "Model 'digits' does not fit into 256 B, the flash of cortex-m4: it needs more than 466 bytes, there are 256. "
            "Its weights take 466, most of them in 'y1' (conv2d) 410, 'y0' (conv2d) 56. Prune more",
        ),
        (
            {"ram_bytes": 4096},
            "Model 'digits' does not fit into 4 KiB, the RAM of cortex-m4: it needs more than 4,464 bytes, there are 4,096. "
            "It holds activations 304, the uploaded input 64, the stack 4,096; the peak of the activations is at layer 1, "
            "conv2d 'y1', which holds 'y1' 160, 'y0' 144 bytes at once. Prune more",
        ),
    ],
)
def test_a_model_over_budget_is_told_in_the_same_unit(memory: dict[str, int], message: str) -> None:
    graph = small_graph()
    small = replace(CORTEX_M4, memory=replace(CORTEX_M4.memory, **memory))
    lowered = lower(graph, small.cpu, small.memory)
    with pytest.raises(TargetError) as caught:
        check_fits(graph, lowered.arena, lowered.sizes, small)
    assert str(caught.value).startswith(message)
