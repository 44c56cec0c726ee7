"""What each ATen operator becomes. A new operator is a function in `layers.py`, `math.py` or `moves.py`,
and a row in that file's TABLE."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node

from pipeline.importers.torch import layers, math, moves
from pipeline.importers.torch.calls import aten, name_of, name_of_target
from pipeline.importers.torch.row import Row

TABLE: dict[Any, Row] = {**layers.TABLE, **math.TABLE, **moves.TABLE}

_RECURRENT = "recurrent; use convolutions over time"
_PRODUCT = "a product of two activations, as in attention; use linear layers, convolutions or pooling"
_NORM = "use batch norm"
_NEAREST = "use mode='nearest'"
_CHOICE = "use relu, clamp, torch.maximum or torch.minimum"
_GATHER = "use slices"
_ACTIVE = "dropout that is active outside of training, too: F.dropout needs training=self.training"
_HINTS = {
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell"), _RECURRENT),
    **dict.fromkeys(("scaled_dot_product_attention", "matmul", "bmm", "einsum", "bilinear"), _PRODUCT),
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm", "rms_norm"), _NORM),
    **dict.fromkeys(("upsample_bilinear2d", "upsample_bicubic2d", "upsample_linear1d"), _NEAREST),
    **dict.fromkeys(("where", "masked_fill"), _CHOICE),
    **dict.fromkeys(("native_dropout", "bernoulli"), _ACTIVE),
    **dict.fromkeys(("index", "index_select", "gather"), _GATHER),
    "_native_batch_norm_legit": "batch norm by the batch's own statistics; use track_running_stats=True",
    "_to_copy": "another number type; keep float32",
    "argmax": "leave it out: the logits are the answer",
    "embedding": "use one-hot inputs and a linear layer",
    "log_softmax": "leave it out: the highest logit is the same",
    "max": "use amax over height and width",
    "sum": "use mean",
    "repeat": "use torch.cat",
    "zeros": "use F.pad, or a buffer",
    "new_zeros": "use F.pad, or a buffer",
}


def is_size(node: Node) -> bool:
    """Arithmetic on sizes, which shapes have answered."""
    arithmetic = (operator.getitem, operator.mul, operator.add, operator.floordiv, operator.sub)
    return node.target is aten.sym_size.int or (
        node.target in arithmetic and not isinstance(node.meta.get("val"), torch.Tensor)
    )


def is_known(node: Node) -> bool:
    """Whether a call has an int8 form. What reads a call's several results is known when that is, but for some results."""
    if node.target is operator.getitem and isinstance(node.args[0], Node):
        return not (node.args[0].target in layers.PART_READERS and node.args[1])
    return node.target in TABLE or is_size(node)


def describe(node: Node) -> str:
    """`lstm (recurrent; use convolutions over time)`."""
    short = name_of(node)
    return f"{short} ({_HINTS[short]})" if short in _HINTS else short


def names() -> list[str]:
    """The operators that have an int8 form, as torch calls them."""
    found = {name_of_target(k) for k in TABLE if hasattr(k, "overloadpacket")}
    return sorted({"batch_norm", "dropout"} | {name for name in found if not name.startswith("_")})
