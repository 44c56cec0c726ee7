"""What a float module costs: multiply-accumulates and parameters, in all and by layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class LayerCost:
    name: str
    kind: str
    macs: int
    parameters: int
    channels: int  # outputs


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one inference. `macs` counts convolutions and matrix products, wherever they are called from."""

    macs: int
    parameters: int
    layers: tuple[LayerCost, ...]


def cost(module: nn.Module, input_shape: tuple[int, int, int]) -> Cost:
    """Of `module` in eval mode on one (C, H, W) example."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(torch.zeros(1, *input_shape))
    flops = counter.get_flop_counts()
    root = type(module).__name__
    layers = []
    for name, m in module.named_modules():
        weight = getattr(m, "weight", None)
        channels = getattr(m, "out_channels", getattr(m, "out_features", None))
        if channels is None or not isinstance(weight, torch.Tensor):
            continue
        macs = sum(flops.get(f"{root}.{name}", {}).values()) // 2
        layers.append(LayerCost(name, type(m).__name__, macs, sum(p.numel() for p in m.parameters()), int(channels)))
    total = sum(flops["Global"].values()) // 2
    return Cost(total, sum(p.numel() for p in module.parameters()), tuple(layers))
