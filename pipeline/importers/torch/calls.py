"""How a call in a torch graph is named, and which calls are clamps."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node

from pipeline.ops._activation import Activation

aten = torch.ops.aten


def name_of(node: Node) -> str:
    """A call as torch calls it: `conv2d`, `result 1 of adaptive_max_pool2d`."""
    if node.target is operator.getitem and isinstance(node.args[0], Node):
        return f"result {node.args[1]} of {name_of(node.args[0])}"
    return name_of_target(node.target)


def name_of_target(target: Any) -> str:
    name = getattr(target, "overloadpacket", target)
    return str(getattr(name, "__name__", name)).removeprefix("aten.")


def activation_of(node: Node) -> Activation | None:
    """The clamp that a call is, if it is one that operators have built in."""
    return _CLAMPS.get(clamp_bounds(node))


def clamp_bounds(node: Node) -> tuple[float | None, float | None] | None:
    """(low, high) of a call that clamps, None for no limit; None for other calls."""
    if node.op != "call_function" or node.target not in _CLAMPING:
        return None
    given = list(node.args[1:])
    default = _CLAMPING[node.target]
    low, high = (*given, *default[len(given) :])[:2]
    return low, high  # type: ignore[return-value]


_CLAMPING: dict[Any, tuple[float | None, float | None]] = {
    aten.relu.default: (0.0, None),
    aten.relu6.default: (0.0, 6.0),
    aten.hardtanh.default: (-1.0, 1.0),
    aten.clamp.default: (None, None),
    aten.clamp_min.default: (None, None),
}


_CLAMPS: dict[Any, Activation] = {(0.0, 6.0): "relu6", (-1.0, 1.0): "relu_n1_to_1", (0.0, None): "relu"}
