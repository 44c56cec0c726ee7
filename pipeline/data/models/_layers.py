"""What the built-in networks are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.ops._window import same_pads


class Conv2dSame(nn.Conv2d):
    """TensorFlow's SAME padding: output ceil(x / stride), the odd pixel at the bottom and right. torch's own "same" knows
    no strides, and its symmetric pads shift a strided convolution by a pixel, which costs a Keras network its accuracy."""

    def forward(self, x: Tensor) -> Tensor:
        size = (int(x.shape[2]), int(x.shape[3]))
        kernel, stride = (self.kernel_size[0], self.kernel_size[1]), (self.stride[0], self.stride[1])
        top, bottom, left, right = same_pads(size, kernel, stride)
        if (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), 1, self.groups)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, self.bias, self.stride, 0, 1, self.groups)


class ConvBnRelu(nn.Sequential):
    """Convolution (SAME), batch norm, ReLU. `groups = c_in` makes it depthwise."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int | tuple[int, int], stride: int | tuple[int, int] = 1, *, groups: int = 1,
        bias: bool = False, relu: bool = True, eps: float = 1e-5,
    ) -> None:  # fmt: skip
        layers: list[nn.Module] = [
            Conv2dSame(c_in, c_out, kernel, stride, groups=groups, bias=bias),
            nn.BatchNorm2d(c_out, eps=eps),
        ]
        super().__init__(*layers, *([nn.ReLU()] if relu else []))


def global_average(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C)."""
    return torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
