"""A quantised torch graph (torchao PT2E: quantize/dequantize pairs around float ATen calls) as our int8 Graph.

torch is NCHW, the Graph NHWC. Each value therefore carries the order in which its torch axes are stored; permuting axes
costs nothing, and a flatten of stored NHWC is repaired in the weights of the linear layer that reads it. What each ATen
operator becomes is in `_aten.py`, one function each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor as TorchTensor
from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.passes.shape_prop import ShapeProp

from pipeline.errors import GraphError
from pipeline.importers import _aten
from pipeline.importers._float_graph import constant_of, path_of, trace
from pipeline.ir import Array, Graph, Op, Quant, Tensor
from pipeline.ops._activation import Activation
from pipeline.ops.reshape import Reshape

# By name: the operators exist in torch.ops only once torchao is imported.
_QUANTIZE = "quantized_decomposed.quantize_per_tensor.default"
_DEQUANTIZE = "quantized_decomposed.dequantize_per_tensor.default"
_DEQUANTIZE_CHANNEL = "quantized_decomposed.dequantize_per_channel.default"
_BIAS_LIMIT = 2**30
"""Half of int32: room for the sum of products that the bias is added to."""


@dataclass(frozen=True, slots=True)
class Value:
    """A torch value in the Graph. `shape` is torch's with batch 1; axis i of the stored tensor is torch axis `order[i]`. A
    2-D value may hold a flattened channels-last tensor: stored column j is then torch column `columns[j]`."""

    name: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    columns: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """The Graph, and for each of its activations the torch node it stands for with the axes' order."""

    graph: Graph
    values: Mapping[str, tuple[str, Value]]


def check_supported(module: nn.Module, example: TorchTensor) -> None:
    """Raise GraphError, before any training, unless every operator of `module` has an int8 form; it names module paths.
    `example` is two inputs or more, float32 (N, C, H, W)."""
    from pipeline.importers._annotate import Int8Quantizer, convert_pt2e, prepare_pt2e

    graph = trace(module, example)
    refuse_unsupported(graph)
    with torch.no_grad():
        prepared = prepare_pt2e(graph, Int8Quantizer(None))
        prepared(example)
        import_converted(convert_pt2e(prepared), example[:1], "model")  # attributes, shapes: all that the real run will meet


def refuse_unsupported(graph: GraphModule) -> None:
    """GraphError naming the module path of each call in a float graph (from `trace`) that has no int8 form."""
    bad: dict[str, dict[str, None]] = {}
    for node in graph.graph.nodes:
        if node.op == "call_function" and not _aten.is_known(node):
            bad.setdefault(path_of(node) or "the model's forward", {})[_aten.describe(node)] = None
    if bad:
        found = [f"{where}: {', '.join([n for n in names if '(' in n] or names)}" for where, names in bad.items()]
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise GraphError(
            f"no int8 form for {'; '.join(found[:5])}{more}. Replace it; what can be compiled: {', '.join(_aten.names())}."
        )


def import_converted(converted: GraphModule, example: TorchTensor, name: str) -> Imported:
    """The int8 Graph of `converted`, made by convert_pt2e; `example` is one input, (1, ...). GraphError names the layer."""
    with torch.no_grad():
        ShapeProp(converted).propagate(example)
    return Importer(converted, name).run()


class Importer:
    """One walk over the nodes. The functions in `_aten.py` read with `value` and `weight` and write with `emit`."""

    def __init__(self, module: GraphModule, name: str) -> None:
        self.module = module
        self.name = name
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.values: dict[Node, Value] = {}
        self.nodes: dict[str, tuple[str, Value]] = {}
        self.calls = Counter(path_of(n) for n in module.graph.nodes if n.target in _aten.TABLE)

    def run(self) -> Imported:
        inputs: list[str] = []
        outputs: list[str] = []
        for node in self.module.graph.nodes:
            if node in self.values or node.op == "get_attr":
                continue
            if node.op == "placeholder":
                inputs.append(self._input(node))
            elif node.op == "output":
                outputs = [self._output(n) for n in _flat(node.args)]
            elif str(node.target) in (_QUANTIZE, _DEQUANTIZE):
                if node.args[0] in self.values:
                    self.values[node] = self.values[node.args[0]]
            elif node.op == "call_function" and node.target in _aten.TABLE:
                _aten.TABLE[node.target].lower(self, node)
            elif not _is_bookkeeping(node):
                raise GraphError(f"no int8 form for {path_of(node) or node.name}: {node.target}")
        graph = Graph(self.name, self.tensors, tuple(self.ops), tuple(inputs), tuple(outputs)).checked()
        return Imported(graph, self.nodes)

    def value(self, node: Any) -> Value:
        """What an operator's argument is in the Graph."""
        if node in self.values:
            return self.values[node]
        raise GraphError(f"{node} is used as an activation but is not quantised; the model mixes in an unsupported value")

    def shape(self, node: Node) -> tuple[int, ...]:
        """torch's shape of the node's result, for batch 1."""
        return tuple(node.meta["tensor_meta"].shape)

    def arguments(self, node: Node) -> dict[str, Any]:
        """By the names of the operator's schema, defaults filled in."""
        schema = cast(Any, node.target)._schema.arguments
        given = dict(zip((a.name for a in schema), node.args, strict=False))
        return {a.name: a.default_value for a in schema if a.has_default_value()} | given | dict(node.kwargs)

    def weight(self, node: Any, where: Node) -> tuple[Array, Array, int]:
        """(int8 values, scales, axis) of a per-channel quantised parameter, in torch's layout."""
        if not isinstance(node, Node) or str(node.target) != _DEQUANTIZE_CHANNEL:
            raise GraphError(f"{self.label(where)}: its weights are computed in forward; they must be parameters")
        values, scales = self.constant(node.args[0]), self.constant(node.args[1])
        return values, scales.astype(np.float64), cast(int, node.args[3])

    def constant(self, node: Any) -> Array:
        tensor = constant_of(self.module, node)
        if tensor is None:
            raise GraphError(f"{node} must be a constant of the model")
        return tensor.detach().cpu().numpy()

    def add_constant(self, name: str, data: Array, quant: Quant) -> str:
        """A new constant tensor; its name is made unique."""
        unique = self._unique(name)
        self.tensors[unique] = Tensor(data.shape, cast(Any, str(data.dtype)), quant, data)
        return unique

    def add_weights(self, node: Node, x: Value, w: Array, scales: Array, bias: Any, axis: int) -> tuple[str, ...]:
        """Names of the weights (stored layout, channels along `axis`) and, if any, of the int32 bias of scale x * w.

        A channel whose bias would not fit int32, as one with all weights zero, gets the weight scale that makes it fit.
        """
        x_scale = self.tensors[x.name].scale
        b = None if bias is None else self.constant(bias).astype(np.float64)
        if b is not None:
            needed = np.abs(b) / (x_scale * _BIAS_LIMIT)
            grown = np.maximum(scales, needed)
            ratio = np.moveaxis(np.broadcast_to(scales / grown, (*np.delete(w.shape, axis), len(scales))), -1, axis)
            w, scales = np.rint(w * ratio).astype(np.int8), grown
        label = self.label(node)
        quant = Quant(tuple(scales), 0, axis)
        names = [self.add_constant(f"{label}.weight", np.ascontiguousarray(w), quant)]
        if b is not None:
            stored = x_scale * np.array(quant.scale)
            quantised = np.rint(b / stored).astype(np.int32)
            names.append(self.add_constant(f"{label}.bias", quantised, Quant(tuple(stored), 0, 0)))
        return tuple(names)

    def label(self, node: Node) -> str:
        """The module's path, with the call's name behind where the module makes several and this one has no weights."""
        path, row = path_of(node), _aten.TABLE.get(node.target)
        if path and (self.calls[path] == 1 or (row is not None and row.weight is not None)):
            return path
        return f"{path}.{_aten.describe(node)}" if path else _aten.describe(node)

    def emit(
        self, node: Node, cls: type[Op], inputs: Sequence[str], order: Sequence[int], columns: tuple[int, ...] | None = None,
        shape: Sequence[int] | None = None, **attributes: Any,
    ) -> Value:  # fmt: skip
        """Write the operator that computes `node` (with the activation fused into it). Its result is stored in `order`, or
        in `shape` when the operator's own rank differs from torch's: a free reshape follows then."""
        end, activation = self.fused(node)
        if activation is not None:
            attributes["activation"] = activation
        torch_shape, quant = self.shape(end), self.quant(end)
        if torch_shape[:1] != (1,):
            raise GraphError(f"{self.label(node)}: mixes the batch with other axes ({torch_shape} for one input)")
        stored = tuple(torch_shape[i] for i in order)
        name = self._unique(self.label(node))
        value = Value(name, torch_shape, tuple(order), columns)
        written = name if shape is None or tuple(shape) == stored else self._unique(f"{name}.wide")
        self.tensors[written] = Tensor(tuple(shape or stored), "int8", quant)
        self.ops.append(cls(inputs=tuple(inputs), outputs=(written,), **attributes))
        if written != name:
            self.tensors[name] = Tensor(stored, "int8", quant)
            self.ops.append(Reshape(inputs=(written,), outputs=(name,)))
        self.values[node] = self.values[end] = value
        self.nodes[name] = (end.name, value)
        return value

    def alias(self, node: Node, value: Value) -> None:
        """`node` is a stored value as it is, under other torch axes: nothing is computed."""
        self.values[node] = value

    def reshaped(self, x: str, shape: Sequence[int], label: str) -> str:
        """`x` under another stored shape, by a free reshape."""
        if self.tensors[x].shape == tuple(shape):
            return x
        name = self._unique(label)
        self.tensors[name] = Tensor(tuple(shape), "int8", self.tensors[x].quant)
        self.ops.append(Reshape(inputs=(x,), outputs=(name,)))
        return name

    def stored_as(self, value: Value, order: Sequence[int], label: str) -> Value:
        """`value` with its axes stored in `order`, moved if need be."""
        if value.columns is not None:
            raise GraphError(
                f"{label}: reads a flattened image in torch's order, which only a linear layer can; put that first"
            )
        if value.order == tuple(order) or _same_bytes(value.shape, value.order, tuple(order)):
            name = self.reshaped(value.name, [value.shape[i] for i in order], f"{value.name}.reordered")
            return Value(name, value.shape, tuple(order))
        return _aten.transposed(self, value, tuple(order), label)

    def quant(self, node: Node) -> Quant:
        """The quantisation of the node's result."""
        for user in node.users:
            if str(user.target) == _QUANTIZE:
                return Quant((float(cast(float, user.args[1])),), int(cast(int, user.args[2])))
        raise GraphError(f"{self.label(node)}: the result of {node.target} is not quantised")

    def fused(self, node: Node) -> tuple[Node, Activation | None]:
        """The node whose result is quantised, and the activation in it: `node` itself, or the relu that alone reads it."""
        users = list(node.users)
        if len(users) == 1 and str(users[0].target) not in (_QUANTIZE, _DEQUANTIZE):
            activation = _aten.activation_of(users[0])
            if activation is not None:
                return users[0], activation
        return node, None

    def _input(self, node: Node) -> str:
        shape = self.shape(node)
        order = _aten.channels_last(len(shape)) if len(shape) == 4 else tuple(range(len(shape)))
        name = self._unique(node.name)
        self.tensors[name] = Tensor(tuple(shape[i] for i in order), "int8", self.quant(node))
        self.values[node] = Value(name, shape, order)
        self.nodes[name] = (node.name, self.values[node])
        return name

    def _output(self, node: Any) -> str:
        value = self.value(node)
        plain = tuple(range(len(value.shape)))
        wanted = _aten.channels_last(4) if len(value.shape) == 4 else plain
        return self.stored_as(value, wanted, "the model's output").name

    def _unique(self, name: str) -> str:
        base = re.sub(r"[^\w.\-/]", "_", name)
        unique, i = base, 1
        while unique in self.tensors:
            unique, i = f"{base}_{i}", i + 1
        return unique


def _same_bytes(shape: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Two orders of axes store the same bytes when they differ only in where axes of size 1 stand."""
    return [i for i in a if shape[i] != 1] == [i for i in b if shape[i] != 1]


def _flat(args: Any) -> list[Any]:
    return [n for a in args for n in _flat(a)] if isinstance(args, list | tuple) else [args]


def _is_bookkeeping(node: Node) -> bool:
    """Sizes, and parameters' own dequantisation: read by the operators that use them."""
    return str(node.target) == _DEQUANTIZE_CHANNEL or _aten.is_size(node)
