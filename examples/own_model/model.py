"""Your model: any torch.nn.Module that takes float32 images (N, C, H, W) and gives logits (N, classes)."""

from __future__ import annotations

import torch
from torch import nn


class SmallCnn(nn.Module):
    """Two 3x3 convolutions and a dense layer. Batch norm and ReLU are folded into the convolutions when it is quantized."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


def build(input_shape: tuple[int, int, int], classes: int, width: int = 16) -> nn.Module:
    """What recipe.toml names. `input_shape` is (C, H, W), taken from the data; `width` comes from [model] arguments."""
    return SmallCnn(input_shape[0], classes, width)
