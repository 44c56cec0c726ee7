"""Where a float graph is quantised, and how: torchao's Quantizer for TFLite's int8 specification.

Every activation is quantised once, where it is made; readers share it. Weights are quantised per output channel. Biases stay
float here: the importer rounds them to int32 with the scale input x weight, as the specification has it.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Literal

import torch
from torch.fx import GraphModule, Node

from pipeline.importers.torch.calls import activation_of
from pipeline.importers.torch.operators import TABLE, is_size
from pipeline.importers.torch.row import Output
from pipeline.ir import Quant

os.environ.setdefault("TORCHAO_FORCE_SKIP_LOADING_SO_FILES", "1")  # GPU kernels: not used, and their absence is announced
for _chatty in ("torch.utils._pytree", "torchao"):  # deprecations of torchao's own, and that those kernels are skipped
    logging.getLogger(_chatty).setLevel(logging.ERROR)

from torchao.quantization.pt2e import (  # noqa: E402
    FakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    PerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e  # noqa: E402
from torchao.quantization.pt2e.quantizer import (  # noqa: E402
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

__all__ = ["Int8Quantizer", "Observer", "convert_pt2e", "prepare_pt2e", "prepare_qat_pt2e"]

Observer = Literal["minmax", "histogram"]
_KEY = "quantization_annotation"
_SMALLEST_SCALE = 2.0**-16
"""Of activations: keeps multipliers of layers that always give the same value within range."""


class Int8Quantizer(Quantizer):  # type: ignore[misc]
    """`input_quant` fixes the model's input (raw bytes fold into it); None lets the calibration images decide."""

    def __init__(self, input_quant: Quant | None, *, qat: bool = False, observer: Observer = "minmax") -> None:
        super().__init__()
        self.input = _activation(qat, observer) if input_quant is None else _fixed(input_quant)
        self.activation = _activation(qat, observer)
        self.unit, self.tanh = _fixed(Quant((1 / 256,), -128)), _fixed(Quant((1 / 128,), 0))
        self.weight = {axis: _weight(qat, axis) for axis in (0, 1)}

    def annotate(self, model: GraphModule) -> GraphModule:
        fused: set[Node] = set()
        for node in model.graph.nodes:
            if node.op == "placeholder":
                node.meta[_KEY] = QuantizationAnnotation(output_qspec=self.input, _annotated=True)
            elif node.op == "call_function" and node.target in TABLE and node not in fused and not is_size(node):
                row = TABLE[node.target]
                weights = {} if row.weight is None else {node.args[row.weight]: self.weight[row.channel_axis]}
                if row.constants:
                    weights = {n: self.activation for n in node.all_input_nodes if n.op == "get_attr"}
                end = _end(node) if row.fuses else node
                if end is not node:
                    fused.add(end)
                    node.meta[_KEY] = QuantizationAnnotation(input_qspec_map=weights, _annotated=True)
                    end.meta[_KEY] = QuantizationAnnotation(output_qspec=self.activation, _annotated=True)
                else:
                    spec = self._output(node, row.output)
                    node.meta[_KEY] = QuantizationAnnotation(weights, spec, _annotated=True)
        return model

    def validate(self, model: GraphModule) -> None:
        """Unsupported operators are refused before (`importer.refuse_unsupported`)."""

    def _output(self, node: Node, output: Output) -> Any:
        if output == "shared":
            source: Any = node.args[0]
            if source.target in TABLE and TABLE[source.target].output == "none":  # one of several results
                source = source.args[0]
            return SharedQuantizationSpec(source)
        if output == "joined":
            return self._join([_root(n) for n in node.all_input_nodes if n.op != "get_attr"])
        return {"own": self.activation, "unit": self.unit, "tanh": self.tanh, "none": None}[output]

    def _join(self, roots: list[Node]) -> Any:
        """One range for all of `roots` that have a free one, the earliest keeping it; the importer rescales the others."""
        free = sorted({r for r in roots if r.meta[_KEY].output_qspec is self.activation})
        for root in free[1:]:
            root.meta[_KEY].output_qspec = SharedQuantizationSpec(free[0])
        return SharedQuantizationSpec(free[0]) if free else self.activation


def _root(node: Node) -> Node:
    """The node whose range `node` shares."""
    spec = node.meta[_KEY].output_qspec
    return _root(spec.edge_or_node) if isinstance(spec, SharedQuantizationSpec) else node


def _end(node: Node) -> Node:
    """The clamp that alone reads `node`, which then becomes part of it; else `node`."""
    users = list(node.users)
    return users[0] if len(users) == 1 and activation_of(users[0]) is not None else node


def _fixed(quant: Quant) -> Any:
    return FixedQParamsQuantizationSpec(torch.int8, quant.scale[0], quant.zero_point, -128, 127, torch.per_tensor_affine)


def _activation(qat: bool, observer: Observer) -> Any:
    if qat:
        constructor = FusedMovingAvgObsFakeQuantize.with_args(observer=MovingAverageMinMaxObserver, eps=_SMALLEST_SCALE)
    else:
        constructor = {"minmax": MinMaxObserver, "histogram": HistogramObserver}[observer].with_args(eps=_SMALLEST_SCALE)
    return QuantizationSpec(torch.int8, constructor, -128, 127, torch.per_tensor_affine)


def _weight(qat: bool, axis: int) -> Any:
    if qat:  # an average over one step: the ranges of the weights as they are now
        constructor = FakeQuantize.with_args(observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0)
    else:
        constructor = PerChannelMinMaxObserver
    return QuantizationSpec(torch.int8, constructor, -127, 127, torch.per_channel_symmetric, ch_axis=axis)
