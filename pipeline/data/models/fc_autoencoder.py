"""The dense autoencoder of MLPerf Tiny (anomaly detection, 640 values): its output is its input, remade from 8 numbers."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

_WIDTHS = (128, 128, 128, 128, 8, 128, 128, 128, 128)


def build(input_shape: tuple[int, int, int], classes: int = 0) -> nn.Module:
    """As many outputs as inputs; with `classes`, that many."""
    values = math.prod(input_shape)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise((values, *_WIDTHS)):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after, eps=1e-3), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(_WIDTHS[-1], classes or values))
