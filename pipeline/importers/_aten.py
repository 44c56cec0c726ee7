"""What each ATen operator becomes. A new operator is a function in `_aten_layers.py`, `_aten_math.py` or `_aten_moves.py`,
and a row in that file's TABLE."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node

from pipeline.importers import _aten_layers, _aten_math, _aten_moves
from pipeline.importers._aten_row import Output, Row, activation_of, aten

__all__ = ["TABLE", "Output", "Row", "activation_of", "describe", "is_known", "is_size", "names"]

TABLE: dict[Any, Row] = {**_aten_layers.TABLE, **_aten_math.TABLE, **_aten_moves.TABLE}

_HINTS = {
    "lstm": "recurrent; use convolutions over time",
    "gru": "recurrent; use convolutions over time",
    "rnn_tanh": "recurrent; use convolutions over time",
    "rnn_relu": "recurrent; use convolutions over time",
    "scaled_dot_product_attention": "attention; use convolutions or pooling",
    "matmul": "of two activations; use linear layers",
    "bmm": "of two activations; use linear layers",
    "embedding": "use one-hot inputs and a linear layer",
    "layer_norm": "use batch norm",
    "group_norm": "use batch norm",
    "instance_norm": "use batch norm",
    "log_softmax": "leave it out: the highest logit is the same",
    "sum": "use mean",
    "upsample_bilinear2d": "use nearest",
}


def is_size(node: Node) -> bool:
    """Arithmetic on sizes, which shapes have answered."""
    arithmetic = (operator.getitem, operator.mul, operator.add, operator.floordiv, operator.sub)
    return node.target is aten.sym_size.int or (
        node.target in arithmetic and not isinstance(node.meta.get("val"), torch.Tensor)
    )


def is_known(node: Node) -> bool:
    if node.target is operator.getitem and isinstance(node.args[0], Node):
        source = node.args[0]
        return is_known(source) and not (source.target in _aten_layers.PART_READERS and node.args[1])
    return node.target in TABLE or is_size(node)


def describe(node: Node) -> str:
    """`lstm (recurrent; use convolutions over time)`."""
    if node.target is operator.getitem and isinstance(node.args[0], Node):
        return f"result {node.args[1]} of {describe(node.args[0])}"
    name = getattr(node.target, "overloadpacket", node.target)
    short = str(getattr(name, "__name__", name)).removeprefix("aten.")
    return f"{short} ({_HINTS[short]})" if short in _HINTS else short


def names() -> list[str]:
    """The operators that have an int8 form, as torch calls them."""
    found = {str(k.overloadpacket.__name__) for k in TABLE if hasattr(k, "overloadpacket")}
    return sorted({"batch_norm", "dropout"} | {name for name in found if not name.startswith("_")})
