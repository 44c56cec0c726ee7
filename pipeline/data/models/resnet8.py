"""ResNet-8 of MLPerf Tiny (image classification, 32x32x3): three residual stacks, as mlcommons/tiny's Keras model."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.data.models._layers import Conv2dSame, ConvBnRelu, global_average

_EPS = 1e-3  # Keras's batch norm


class Stack(nn.Module):
    """Two 3x3 convolutions around a shortcut, which is a strided 1x1 convolution without batch norm where sizes change.
    The members stand in Keras's order: checkpoints in Keras layout are matched by it."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBnRelu(c_in, c_out, 3, stride, bias=True, eps=_EPS)
        self.conv2 = ConvBnRelu(c_out, c_out, 3, bias=True, relu=False, eps=_EPS)
        self.shortcut = Conv2dSame(c_in, c_out, 1, stride) if stride != 1 or c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.conv2(self.conv1(x)))


class ResNet8(nn.Module):
    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.stem = ConvBnRelu(input_shape[0], 16, 3, bias=True, eps=_EPS)
        self.stack1 = Stack(16, 16, 1)
        self.stack2 = Stack(16, 32, 2)
        self.stack3 = Stack(32, 64, 2)
        self.dense = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stack3(self.stack2(self.stack1(self.stem(x))))
        return self.dense(global_average(x))  # type: ignore[no-any-return]


def build(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    return ResNet8(input_shape, classes)
