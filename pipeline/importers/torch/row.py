"""What the table of operators is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch.fx import Node

from pipeline.importers.torch.builder import Builder

Output = Literal["own", "shared", "joined", "unit", "tanh", "none"]
"""How a result is quantised: by its own range; as the first input; with all inputs by one range, since the operator never
rescales; over 0..1 with scale 1/256; over -1..1 with scale 1/128; not at all, because only parts of it are read."""


@dataclass(frozen=True, slots=True)
class Row:
    """`weight`: the argument that holds per-channel weights, whose output channels are `channel_axis`. `fuses`: a relu that
    alone reads the result becomes a clamp in the operator. `constants`: parameters may stand among its operands."""

    lower: Callable[[Builder, Node], None]
    output: Output = "own"
    weight: int | None = None
    channel_axis: int = 0
    fuses: bool = False
    constants: bool = False
