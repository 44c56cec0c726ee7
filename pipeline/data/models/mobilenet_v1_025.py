"""MobileNetV1 of a quarter's width, MLPerf Tiny's visual wake words network (96x96x3)."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.data.models._layers import ConvBnRelu, global_average

_EPS = 1e-3  # Keras's batch norm
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Output channels at full width, and stride, of each depthwise-separable block."""


class MobileNetV1(nn.Module):
    def __init__(self, input_shape: tuple[int, int, int], classes: int, width: float) -> None:
        super().__init__()
        channels = int(32 * width)
        layers: list[nn.Module] = [ConvBnRelu(input_shape[0], channels, 3, 2, eps=_EPS)]
        for wide, stride in _BLOCKS:
            out = int(wide * width)
            layers += [
                ConvBnRelu(channels, channels, 3, stride, groups=channels, eps=_EPS),
                ConvBnRelu(channels, out, 1, eps=_EPS),
            ]
            channels = out
        self.features = nn.Sequential(*layers)
        self.dense = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(global_average(self.features(x)))  # type: ignore[no-any-return]


def build(input_shape: tuple[int, int, int], classes: int, width: float = 0.25) -> nn.Module:
    return MobileNetV1(input_shape, classes, width)
