"""Dense layers with ReLU between them: for a few numbers that are no image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def build(input_shape: tuple[int, int, int], outputs: int, widths: Sequence[int] = (32, 32)) -> nn.Module:
    """`widths` are those of the layers before the last."""
    sizes = (math.prod(input_shape), *widths)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))
