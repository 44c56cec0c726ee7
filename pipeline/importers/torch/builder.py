"""What the functions of layers.py, math.py and moves.py read a quantised torch graph with and write an int8 Graph with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from torch.fx import GraphModule, Node

from pipeline.errors import GraphError
from pipeline.importers.layout import Axes, channels_last, plain
from pipeline.importers.stored import StoredGraph, Value
from pipeline.importers.torch.calls import activation_of, name_of
from pipeline.importers.torch.float_graph import constant_of
from pipeline.importers.torch.source_line import path_of, place_of
from pipeline.ir import Array, Op, Quant, Tensor
from pipeline.ops._activation import Activation
from pipeline.ops.lookup import Lookup

# By name: the operators exist in torch.ops only once torchao is imported.
QUANTIZE = "quantized_decomposed.quantize_per_tensor.default"
DEQUANTIZE = "quantized_decomposed.dequantize_per_tensor.default"
DEQUANTIZE_CHANNEL = "quantized_decomposed.dequantize_per_channel.default"
_BIAS_LIMIT = 2**30
"""Half of int32: room for the sum of products that the bias is added to."""


class Builder(StoredGraph):
    """`known` are the targets of calls that have an int8 form, and whether they have weights. `values` maps torch
    nodes to what they are in the Graph; `nodes` maps activations of the Graph back."""

    def __init__(self, module: GraphModule, name: str, known: Mapping[Any, bool]) -> None:
        super().__init__()
        self.module = module
        self.name = name
        self._weighted = known
        self.values: dict[Node, Value] = {}
        self.nodes: dict[str, tuple[str, Value]] = {}
        self.calls = Counter(path_of(n) for n in module.graph.nodes if n.target in known)

    def fail(self, node: Node, message: str) -> GraphError:
        return GraphError(f"{place_of(node)}: {message}.")

    # Reading

    def value(self, node: Any) -> Value:
        """What an operator's argument is in the Graph."""
        if node in self.values:
            return self.values[node]
        raise GraphError(f"{node} is used as an activation but is not quantised; the model mixes in an unsupported value")

    def shape(self, node: Node) -> Axes:
        """torch's shape of the node's result, for batch 1."""
        shape = tuple(node.meta["tensor_meta"].shape)
        if shape[:1] != (1,):
            raise self.fail(
                node,
                f"{name_of(node)} mixes the batch with other axes ({shape} for one input); keep the first axis, as "
                "x.flatten(1) and x.squeeze(-1) do",
            )
        return shape

    def arguments(self, node: Node) -> dict[str, Any]:
        """By the names of the operator's schema, defaults filled in."""
        schema = cast(Any, node.target)._schema.arguments
        given = dict(zip((a.name for a in schema), node.args, strict=False))
        return {a.name: a.default_value for a in schema if a.has_default_value()} | given | dict(node.kwargs)

    def quant(self, node: Node) -> Quant:
        """The quantisation of the node's result."""
        for user in node.users:
            if str(user.target) == QUANTIZE:
                return Quant((float(cast(float, user.args[1])),), int(cast(int, user.args[2])))
        raise self.fail(node, f"the result of {name_of(node)} is not quantised")

    def fused(self, node: Node) -> tuple[Node, Activation | None]:
        """The node whose result is quantised, and the activation in it: `node` itself, or the relu that alone reads it."""
        users = list(node.users)
        if len(users) == 1 and str(users[0].target) not in (QUANTIZE, DEQUANTIZE):
            activation = activation_of(users[0])
            if activation is not None:
                return users[0], activation
        return node, None

    def constant(self, node: Any) -> Array:
        tensor = constant_of(self.module, node)
        if tensor is None:
            raise GraphError(f"{node} must be a constant of the model")
        return tensor.detach().cpu().numpy()

    def quantised_constant(self, node: Any) -> tuple[Array, Quant] | None:
        """int8 values in torch's layout, when an operand is a parameter or constant; None for activations."""
        if not isinstance(node, Node) or str(node.target) != DEQUANTIZE or node in self.values:
            return None
        return self.constant(node.args[0]), Quant((float(cast(float, node.args[1])),), int(cast(int, node.args[2])))

    def weight(self, node: Any) -> tuple[Array, Array]:
        """(int8 values, scales) of a per-channel quantised parameter, in torch's layout."""
        return self.constant(node.args[0]), self.constant(node.args[1]).astype(np.float64)

    # Writing

    def label(self, node: Node) -> str:
        """The module's path, with the call's name behind where the module makes several and this one has no weights."""
        path = path_of(node)
        if path and (self.calls[path] == 1 or self._weighted.get(node.target)):
            return path
        name = name_of(node).replace(" ", "_")
        return f"{path}.{name}" if path else name

    def emit(
        self, node: Node, cls: type[Op], inputs: Sequence[str], order: Axes, *, flat: tuple[Axes, Axes] | None = None,
        shape: Axes | None = None, **attributes: Any,
    ) -> None:  # fmt: skip
        """Write the operator that computes `node` (with the activation fused into it). Its result is stored in `order`, or
        in `shape` when the operator's own rank differs from torch's: a free reshape follows then."""
        end, activation = self.fused(node)
        if activation is not None and cls is not Lookup:  # a table has it inside
            attributes["activation"] = activation
        torch_shape, quant, label = self.shape(end), self.quant(end), self.label(node)
        stored = tuple(torch_shape[i] for i in order)
        name = self.write_wide(cls, inputs, shape or stored, stored, quant, label, **attributes)
        value = Value(name, torch_shape, order, flat)
        self.values[node] = self.values[end] = value
        self.nodes[name] = (end.name, value)

    def alias(self, node: Node, value: Value) -> None:
        """`node` is a stored value as it is, under other torch axes: nothing is computed."""
        self.shape(node)
        self.values[node] = value

    def add_weights(self, node: Node, x: Value, w: Array, scales: Array, bias: Any, axis: int) -> tuple[str, ...]:
        """Names of the weights (stored layout, channels along `axis`) and, if any, of the int32 bias of scale x * w.

        A channel whose bias would not fit int32, as one with all weights zero, gets the weight scale that makes it fit.
        """
        x_scale = self.tensors[x.name].scale
        b = None if bias is None else self.constant(bias).astype(np.float64)
        if b is not None:
            grown = np.maximum(scales, np.abs(b) / (x_scale * _BIAS_LIMIT))
            along = [1] * w.ndim
            along[axis] = -1
            w, scales = np.rint(w * (scales / grown).reshape(along)).astype(np.int8), grown
        label = self.label(node)
        quant = Quant(tuple(scales), 0, axis)
        names = [self.add_constant(f"{label}.weight", np.ascontiguousarray(w), quant)]
        if b is not None:
            steps = x_scale * np.array(quant.scale)
            quantised = np.rint(b / steps).astype(np.int32)
            names.append(self.add_constant(f"{label}.bias", quantised, Quant(tuple(steps), 0, 0)))
        return tuple(names)

    # The ends

    def input(self, node: Node) -> str:
        shape = self.shape(node)
        order = channels_last(4) if len(shape) == 4 else plain(len(shape))
        name = self.unique(node.name)
        self.tensors[name] = Tensor(tuple(shape[i] for i in order), "int8", self.quant(node))
        self.values[node] = Value(name, shape, order)
        self.nodes[name] = (node.name, self.values[node])
        return name

    def output(self, node: Node) -> str:
        value = self.value(node)
        stored = self.stored_as(value, channels_last(4) if len(value.shape) == 4 else plain(len(value.shape)))
        # A move that ends the model is no operator of the graph that has a torch node of its own.
        self.nodes.setdefault(stored.name, (_computed(node).name, stored))
        return stored.name


def _computed(node: Node) -> Node:
    """The call whose result `node` is, behind quantisation."""
    while str(node.target) in (QUANTIZE, DEQUANTIZE):
        node = cast(Node, node.args[0])
    return node
