"""A torch module as a canonical float graph: exported, functional, without batch norms and no-ops, batch size free."""

from __future__ import annotations

import copy
import io
import logging
import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.fx.node import map_arg

from pipeline.errors import GraphError, first_line
from pipeline.importers.torch.source_line import line_of_error, place_of

aten = torch.ops.aten

IDENTITIES = {
    aten.clone.default, aten.alias.default, aten.detach.default, aten.contiguous.default, aten.lift_fresh_copy.default,
    aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default,
}  # fmt: skip
"""In eval mode these give their first argument."""

_BATCH_NORM = aten._native_batch_norm_legit_no_training.default
_WEIGHTED: dict[Any, bool] = {
    aten.conv1d.default: False, aten.conv1d.padding: False, aten.conv2d.default: False, aten.conv2d.padding: False,
    aten.conv_transpose1d.default: True, aten.conv_transpose2d.input: True, aten.linear.default: False,
}  # fmt: skip
"""Operators with weights that a batch norm can be folded into; True when outputs are the weights' second axis."""


def trace(module: nn.Module, example: Tensor) -> GraphModule:
    """`module` (in eval mode) as a graph of functional ATen calls that takes any batch size. `example` holds two inputs or
    more. GraphError when torch.export can not follow it, naming the line of the model's forward."""
    try:
        with _quiet():
            exported = torch.export.export(
                copy.deepcopy(module).eval(), (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False
            )
            graph = exported.run_decompositions({}).module()
    except GuardOnDataDependentSymNode as e:
        raise GraphError(
            f"the model's forward decides by a tensor's values{line_of_error(e)}: a compiled network takes the same steps "
            "for every input. Compute with tensors only (relu, clamp, torch.maximum, a product with a sigmoid), or let a "
            "setting in __init__ decide."
        ) from e
    except Exception as e:  # export runs the user's code: whatever that and torch raise
        raise GraphError(
            f"torch.export can not follow the model's forward{line_of_error(e)}: {first_line(e)}. It must compute with "
            "torch alone, on tensors, and take and give plain tensors."
        ) from e
    assert isinstance(graph, GraphModule)
    _simplify(graph)
    _fold_constants(graph)
    _fold_batch_norms(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """torch.export prints the graph and its own deprecations; the exception says what the user needs."""
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def _simplify(graph: GraphModule) -> None:
    for node in list(graph.graph.nodes):
        if node.op not in ("call_module", "call_function"):
            continue
        if node.target in IDENTITIES:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
        elif node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default  # real images may have other strides than the traced one
        elif node.op == "call_module" or node.target is aten.copy_.default or str(node.target).startswith("aten._assert"):
            graph.graph.erase_node(node)  # guards on the example's shape, writes to the caller's input, asserts
    graph.graph.eliminate_dead_code()


def check_batch(graph: GraphModule, example: Tensor) -> None:
    """GraphError unless a graph from `trace` takes one input as well as the two or more of `example`."""
    try:
        with torch.no_grad():
            graph(example[:1])
    except (RuntimeError, AssertionError) as e:
        raise GraphError(
            f"the model's forward fixes the batch size to {len(example)}: it must take any. Use x.flatten(1) or "
            "x.view(x.shape[0], -1) instead of len(x) and of sizes written as numbers."
        ) from e


def constant_of(graph: GraphModule, node: Any) -> Tensor | None:
    """The parameter, buffer or constant that a get_attr node reads; None for other nodes."""
    if not isinstance(node, Node) or node.op != "get_attr":
        return None
    value: Any = graph
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value if isinstance(value, Tensor) else None


def _fold_constants(graph: GraphModule) -> None:
    """Compute what depends on parameters and numbers only; divide and multiply matrices by constants as layers can."""
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or not isinstance(node.meta.get("val"), Tensor):
            continue
        arguments = [constant_of(graph, n) for n in node.all_input_nodes]
        fixed = isinstance(node.target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded not in node.target.tags
        if fixed and all(a is not None for a in arguments):
            known = dict(zip(node.all_input_nodes, arguments, strict=True))
            with torch.no_grad():
                value = node.target(*map_arg(node.args, known.__getitem__), **map_arg(node.kwargs, known.__getitem__))
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(_new_constant(graph, node, "value", value))
            graph.graph.erase_node(node)
        elif node.target in (aten.div.Tensor, aten.matmul.default) and (c := constant_of(graph, node.args[1])) is not None:
            divides = node.target is aten.div.Tensor
            if not divides and c.ndim != 2:
                continue
            with graph.graph.inserting_before(node):
                other = _new_constant(graph, node, "factor", 1 / c.detach() if divides else c.detach().T.contiguous())
            node.target = aten.mul.Tensor if divides else aten.linear.default
            node.args = (node.args[0], other)


def _fold_batch_norms(graph: GraphModule) -> None:
    """Fold each batch norm into the convolution or linear layer before it, when it alone reads that; else it becomes a 1x1
    depthwise convolution. (torchao's own folding changes a shared layer's weights under its other readers.)"""
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or node.target != _BATCH_NORM:
            continue
        x, weight, bias, mean, variance, _, eps = node.args
        given = [constant_of(graph, n) for n in (weight, bias, mean, variance)]
        mu, var = given[2], given[3]
        if mu is None or var is None:
            raise GraphError(f"{place_of(node)} has no running statistics; use track_running_stats=True.")
        scale = torch.rsqrt(var.detach() + eps) * (given[0].detach() if given[0] is not None else 1.0)
        shift = (given[1].detach() if given[1] is not None else 0.0) - mu.detach() * scale
        target = _folds_into(graph, x)
        result = target if target is not None else _as_depthwise(graph, node, scale, shift)
        if target is not None:
            _scale_outputs(graph, target, scale, shift)
        for user in list(node.users):
            if user.target is not operator.getitem or user.args[1] != 0:
                raise GraphError(f"{place_of(node)}: the model reads this batch norm's statistics, which are not computed.")
            user.replace_all_uses_with(result)
            graph.graph.erase_node(user)
        graph.graph.erase_node(node)


def _folds_into(graph: GraphModule, x: Any) -> Node | None:
    if not isinstance(x, Node) or x.target not in _WEIGHTED or len(x.users) != 1:
        return None
    if x.target is aten.linear.default and x.meta["val"].ndim != 2:
        return None  # linear's features are last, the batch norm's channels second
    readable = constant_of(graph, x.args[1]) is not None
    grouped_transpose = _WEIGHTED[x.target] and len(x.args) > 6 and x.args[6] != 1
    return x if readable and not grouped_transpose else None


def _scale_outputs(graph: GraphModule, layer: Node, scale: Tensor, shift: Tensor) -> None:
    weight = constant_of(graph, layer.args[1])
    bias = constant_of(graph, layer.args[2]) if len(layer.args) > 2 else None
    assert weight is not None  # _folds_into
    shape = [1] * weight.ndim
    shape[1 if _WEIGHTED[layer.target] else 0] = -1
    folded_weight = weight.detach() * scale.reshape(shape)
    folded_bias = shift if bias is None else bias.detach() * scale + shift
    with graph.graph.inserting_before(layer):
        weight_node = _new_constant(graph, layer, "weight", folded_weight)
        bias_node = _new_constant(graph, layer, "bias", folded_bias)
    layer.args = (layer.args[0], weight_node, bias_node, *layer.args[3:])


def _as_depthwise(graph: GraphModule, node: Node, scale: Tensor, shift: Tensor) -> Node:
    """A 1x1 depthwise convolution; over features (N, C) one on (N, C, 1)."""
    x = node.args[0]
    assert isinstance(x, Node)
    rank = max(x.meta["val"].ndim, 3)
    if rank > 4:
        raise GraphError(f"{place_of(node)} has {rank - 2} dimensions of space; one or two have an int8 form.")
    spatial = rank - 2
    one, zero = [1] * spatial, [0] * spatial

    def call(target: Any, *args: Any, value: Tensor) -> Node:
        result = graph.graph.call_function(target, args)
        result.meta = {**node.meta, "val": value}
        return result

    with graph.graph.inserting_before(node):
        weight = _new_constant(graph, node, "weight", scale.reshape(-1, 1, *one))
        bias = _new_constant(graph, node, "bias", shift)
        value = x.meta["val"]
        if value.ndim == 2:
            x = call(aten.unsqueeze.default, x, -1, value=value.unsqueeze(-1))
        op = aten.conv1d.default if rank == 3 else aten.conv2d.default
        result = call(op, x, weight, bias, one, zero, one, len(scale), value=x.meta["val"])
        return call(aten.squeeze.dim, result, -1, value=value) if value.ndim == 2 else result


def _new_constant(graph: GraphModule, owner: Node, role: str, value: Tensor) -> Node:
    name = f"_folded_{owner.name}_{role}"
    graph.register_parameter(name, nn.Parameter(value.clone()))
    return graph.graph.get_attr(name)
