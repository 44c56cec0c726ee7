"""The dense autoencoder of MLPerf Tiny (anomaly detection, 640 values): its output is its input, remade from 8 numbers."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn


def build(input_shape: tuple[int, int, int], outputs: int = 0, width: int = 128, code: int = 8) -> nn.Module:
    """As many outputs as inputs; with `outputs`, that many. Four layers of `width` on each side of `code` values."""
    widths = (*(width,) * 4, code, *(width,) * 4)
    values = math.prod(input_shape)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise((values, *widths)):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after, eps=1e-3), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs or values))
