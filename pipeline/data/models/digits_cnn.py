"""A small network with one of everything: convolution, depthwise-separable block, residual add, pooling, dense."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.data.models._layers import ConvBnRelu


class DigitsCnn(nn.Module):
    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: int) -> None:
        super().__init__()
        c, h, w = input_shape
        self.stem = ConvBnRelu(c, width, 3)
        self.depthwise = ConvBnRelu(width, width, 3, groups=width)
        self.pointwise = ConvBnRelu(width, 2 * width, 1)
        self.residual = ConvBnRelu(2 * width, 2 * width, 3, relu=False)
        self.head = ConvBnRelu(2 * width, 2 * width, 3)
        self.dense = nn.Linear(2 * width * (h // 4) * (w // 4), classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pointwise(self.depthwise(self.stem(x)))
        x = F.max_pool2d(F.relu(x + self.residual(x)), 2)
        x = F.avg_pool2d(self.head(x), 2)
        return self.dense(torch.flatten(x, 1))  # type: ignore[no-any-return]


def build(input_shape: tuple[int, int, int], classes: int, width: int = 16) -> nn.Module:
    """Images of at least 4x4 pixels; `width` channels after the first convolution, twice as many later."""
    return DigitsCnn(input_shape, classes, width)
