"""Models that fail while they are trained, and what a module holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def state(module: nn.Module) -> list[Tensor]:
    return list(module.state_dict().values())


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(state(a), state(b), strict=True))


class Fails(nn.Module):
    """In training or in eval mode, with batches of two or with larger ones."""

    def __init__(self, training: bool, large: bool, error: type[BaseException] = ValueError) -> None:
        super().__init__()
        self.dense, self.fails, self.error = nn.Linear(64, 10), (training, large), error

    def forward(self, x: Tensor) -> Tensor:
        if (self.training, len(x) > 2) == self.fails:
            raise self.error("boom")
        return self.dense(x.flatten(1))


class Dies(nn.Module):
    """Its only ReLUs never see a positive number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.dense = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 10)
        nn.init.constant_(self.second.bias, -1e3)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(F.relu(self.second(F.relu(self.first(x.flatten(1))))))
