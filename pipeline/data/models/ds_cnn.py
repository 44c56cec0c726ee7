"""DS-CNN of MLPerf Tiny (keyword spotting, 49x10 MFCCs): one convolution, four depthwise-separable blocks."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.data.models._layers import ConvBnRelu, global_average

_EPS = 1e-3  # Keras's batch norm


def separable(width: int) -> nn.Sequential:
    return nn.Sequential(
        ConvBnRelu(width, width, 3, groups=width, bias=True, eps=_EPS),
        ConvBnRelu(width, width, 1, bias=True, eps=_EPS),
    )


class DsCnn(nn.Module):
    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: int) -> None:
        super().__init__()
        self.stem = ConvBnRelu(input_shape[0], width, (10, 4), (2, 2), bias=True, eps=_EPS)
        self.dropout1 = nn.Dropout(0.2)
        self.blocks = nn.Sequential(*(separable(width) for _ in range(4)))
        self.dropout2 = nn.Dropout(0.4)
        self.dense = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout2(self.blocks(self.dropout1(self.stem(x))))
        return self.dense(global_average(x))  # type: ignore[no-any-return]


def build(input_shape: tuple[int, int, int], classes: int, width: int = 64) -> nn.Module:
    return DsCnn(input_shape, classes, width)
