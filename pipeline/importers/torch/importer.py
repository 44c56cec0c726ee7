"""A quantised torch graph (torchao PT2E: quantize/dequantize pairs around float ATen calls) as our int8 Graph.

torch is NCHW, the Graph NHWC. Each value therefore carries the order in which its torch axes are stored; permuting axes
costs nothing, and a flatten of stored NHWC is repaired in the weights of the linear layer that reads it. What each ATen
operator becomes is in layers.py, math.py and moves.py, one function each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor as TorchTensor
from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.passes.shape_prop import ShapeProp

from pipeline.errors import GraphError
from pipeline.importers.stored import Value
from pipeline.importers.torch.builder import DEQUANTIZE, DEQUANTIZE_CHANNEL, QUANTIZE, Builder
from pipeline.importers.torch.calls import name_of, name_of_target
from pipeline.importers.torch.float_graph import check_batch, constant_of, trace
from pipeline.importers.torch.operators import TABLE, describe, is_known, is_size, names
from pipeline.importers.torch.row import Row
from pipeline.importers.torch.source_line import place_of
from pipeline.ir import Graph

__all__ = ["Imported", "Value", "check_supported", "import_converted", "refuse_unsupported"]

_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Imported:
    """The Graph, and for each of its activations the torch node it stands for and how that is stored."""

    graph: Graph
    values: Mapping[str, tuple[str, Value]]


def check_supported(module: nn.Module, example: TorchTensor) -> None:
    """Raise GraphError, before any training, unless every operator of `module` has an int8 form; it names module paths.
    `example` is two inputs or more, float32 (N, C, H, W)."""
    from pipeline.importers.torch.annotate import Int8Quantizer, convert_pt2e, prepare_pt2e

    graph = trace(module, example)
    refuse_unsupported(graph)
    check_batch(graph, example)
    with torch.no_grad():
        prepared = prepare_pt2e(graph, Int8Quantizer(None))
        prepared(example)
        import_converted(convert_pt2e(prepared), example[:1], "model")  # attributes, shapes: all that the real run will meet


def refuse_unsupported(graph: GraphModule) -> None:
    """GraphError naming the modules of a float graph (from `trace`) that make calls without an int8 form."""
    bad: dict[str, dict[str, bool]] = {}  # by place, by call: whether it computes from a tensor
    for node in graph.graph.nodes:
        if node.op == "call_function" and not is_known(node):
            reads = any(isinstance(n.meta.get("val"), TorchTensor) for n in node.all_input_nodes)
            bad.setdefault(place_of(node), {})[describe(node)] = reads
    if bad:
        # Where an LSTM makes its zeros, it is the LSTM that counts.
        found = {place: [n for n, reads in calls.items() if reads] or list(calls) for place, calls in bad.items()}
        single = sum(map(len, found.values())) == 1
        raise GraphError(
            f"{_listed([f'{place} uses {_listed(names)}' for place, names in found.items()], '; ')}, which "
            f"{'has' if single else 'have'} no int8 form. Replace {'it' if single else 'them'}; what can be compiled: "
            f"{', '.join(names())}."
        )
    for node in graph.graph.nodes:
        row = TABLE.get(node.target)
        if row is not None:
            _refuse_parameters(graph, node, row)
        elif node.op == "placeholder" and not node.users:
            raise GraphError("the output of the model's forward does not depend on its input; there is nothing to compile.")
        elif node.op == "output" and not all(isinstance(n, Node) and n.op != "get_attr" for n in _flat(node.args)):
            raise GraphError("an output of the model's forward is not computed from its input; leave it out.")


def _refuse_parameters(graph: GraphModule, node: Node, row: Row) -> None:
    """GraphError when a call has parameters where activations must stand, or the other way round."""
    name = name_of(node)
    if row.weight is not None and constant_of(graph, node.args[row.weight]) is None:
        raise GraphError(f"{place_of(node)}: the weights of {name} are computed in forward; they must be parameters.")
    if not row.constants and any(constant_of(graph, n) is not None for n in _flat(node.args[:1])):
        operators = ", ".join(sorted(name_of_target(target) for target, row in TABLE.items() if row.constants))
        raise GraphError(
            f"{place_of(node)}: {name} of a parameter or constant has no int8 form; it may be an operand of {operators}, "
            "which broadcast by themselves."
        )


def _listed(found: list[str], separator: str = ", ") -> str:
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return separator.join(found[:_MOST_NAMED]) + more


def import_converted(converted: GraphModule, example: TorchTensor, name: str) -> Imported:
    """The int8 Graph of `converted`, made by convert_pt2e; `example` is one input, (1, ...). GraphError names the layer."""
    with torch.no_grad():
        ShapeProp(converted).propagate(example)
    b = Builder(converted, name, {target: row.weight is not None for target, row in TABLE.items()})
    inputs: list[str] = []
    outputs: list[str] = []
    for node in converted.graph.nodes:
        if node in b.values or node.op == "get_attr":
            continue
        if node.op == "placeholder":
            inputs.append(b.input(node))
        elif node.op == "output":
            outputs = [b.output(n) for n in _flat(node.args)]
        elif str(node.target) in (QUANTIZE, DEQUANTIZE):
            if node.args[0] in b.values:
                b.values[node] = b.values[node.args[0]]
        elif node.op == "call_function" and node.target in TABLE and not is_size(node):
            TABLE[node.target].lower(b, node)
        elif str(node.target) != DEQUANTIZE_CHANNEL and not is_size(node):
            raise b.fail(node, f"no int8 form for {node.target}")
    graph = Graph(name, b.tensors, tuple(b.ops), tuple(inputs), tuple(outputs)).checked()
    return Imported(graph, b.nodes)


def _flat(args: Any) -> list[Node]:
    return [n for a in args for n in _flat(a)] if isinstance(args, list | tuple) else [args]
