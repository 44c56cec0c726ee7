"""The steps of quantization: observers in, calibration, conversion to the Graph, and how far it is from the float model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor as TorchTensor
from torch import nn
from torch.fx import GraphModule, Interpreter, Node

from pipeline.artifacts import QuantizedModel
from pipeline.data.calibration import Selection
from pipeline.data.dataset import Dataset
from pipeline.errors import GraphError
from pipeline.fixedpoint import dequantize
from pipeline.importers.torch.annotate import Int8Quantizer, Observer, convert_pt2e, prepare_pt2e, prepare_qat_pt2e
from pipeline.importers.torch.float_graph import trace
from pipeline.importers.torch.importer import Imported, import_converted, refuse_unsupported
from pipeline.importers.torch.source_line import place_of
from pipeline.ir import Array, Graph
from pipeline.preprocess import Preprocess, byte_tables, to_int8
from pipeline.proof.source_torch import prove_torch
from pipeline.stage import Context
from pipeline.training.fit import Schedule, batch_of, fit

_BATCH = 64


def prepare(module: nn.Module, chosen: Selection, data: Dataset, *, qat: bool, observer: Observer) -> GraphModule:
    """The module as a float graph with observers (PTQ) or fake quantisation (QAT), calibrated."""
    graph = trace(module, batch_of(data, chosen.images[:2].repeat(2, axis=0)[:2]))
    refuse_unsupported(graph)
    quantizer = Int8Quantizer(data.normalization.input_quant(data.raw_dtype), qat=qat, observer=observer)
    prepared: GraphModule = (prepare_qat_pt2e if qat else prepare_pt2e)(graph, quantizer)
    calibration = _Visited(prepared, _refuse_overflow)
    with torch.no_grad():
        for i in range(0, len(chosen.images), _BATCH):
            calibration.run(batch_of(data, chosen.images[i : i + _BATCH]))
    return prepared


def train(schedule: Schedule, prepared: GraphModule, data: Dataset, ctx: Context) -> None:
    """Quantisation-aware training, with fake quantisation in place."""
    from torchao.quantization.pt2e import disable_observer, enable_observer

    def set_mode(training: bool) -> None:
        prepared.apply(enable_observer if training else disable_observer)

    best = fit(prepared, data, schedule, data.task.loss(), ctx, stage="quantize", set_mode=set_mode)
    ctx.log.metrics({"best_epoch": best})


def to_graph(prepared: GraphModule, data: Dataset, name: str) -> tuple[Imported, GraphModule]:
    """The calibrated graph imported as the Graph `name`, and converted, in torch, as it was imported from."""
    converted = convert_pt2e(prepared)
    return import_converted(converted, batch_of(data, data.x_train[:1]), name), converted


def proven(imported: Imported, converted: GraphModule, model: QuantizedModel, raw: Array) -> int:
    """By how many steps a layer of the Graph is away, at most, from the converted graph's, for raw images. GraphError when
    that is more than two ways of rounding make."""
    x = graph_input(imported.graph, model.data, model.preprocess, raw)
    return prove_torch(imported, converted, batch_of(model.data, raw), x)


def quantized_model(graph: Graph, data: Dataset) -> QuantizedModel:
    """The Graph with the preprocessing that its raw values need."""
    x = graph[graph.inputs[0]]
    if data.raw_dtype not in ("uint8", "int8") or x.quant is None:
        return QuantizedModel(graph, data, None)
    dtype: Literal["uint8", "int8"] = "uint8" if data.raw_dtype == "uint8" else "int8"
    return QuantizedModel(graph, data, byte_tables(data.normalization, dtype, x.quant, data.input_shape[0]))


def answers(model: QuantizedModel, raw: Array, ctx: Context) -> Array:
    """The Graph's int8 outputs for raw images."""
    graph, preprocess = model.graph, model.preprocess
    parts = []
    with ctx.progress("quantize: test images, int8", total=len(raw)) as advance:
        for i in range(0, len(raw), _BATCH):
            chunk = raw[i : i + _BATCH]
            parts.append(graph.run(graph_input(graph, model.data, preprocess, chunk))[0])
            advance(len(chunk))
    return np.concatenate(parts)


def graph_input(graph: Graph, data: Dataset, preprocess: Preprocess | None, raw: Array) -> Array:
    return to_int8(raw, graph[graph.inputs[0]], data.normalization, preprocess)


class _Visited(Interpreter):
    """Runs a graph and shows `visit` its input and the result of every call, before anything reads them."""

    def __init__(self, module: GraphModule, visit: Callable[[Node, TorchTensor], None]) -> None:
        super().__init__(module)
        self.extra_traceback = False  # errors keep their own text
        self.visit = visit

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, TorchTensor) and n.op in ("call_function", "placeholder"):
            self.visit(n, result)
        return result


def _refuse_overflow(node: Node, value: TorchTensor) -> None:
    if not torch.isfinite(value).all():
        raise GraphError(
            f"quantize: {place_of(node)} gives NaN or infinity for calibration images, which has no int8 form. Check the "
            "weights, and that data.mean and data.std fit the raw values."
        )


def float_values(prepared: GraphModule, x: TorchTensor) -> Mapping[str, Array]:
    """What each call of the prepared graph gives in float, rounding switched off meanwhile and observers for good."""
    from torchao.quantization.pt2e import disable_fake_quant, disable_observer, enable_fake_quant

    prepared.apply(disable_observer)
    prepared.apply(disable_fake_quant)
    seen: dict[str, Array] = {}
    with torch.no_grad():
        _Visited(prepared, lambda node, value: seen.update({node.name: value.numpy()})).run(x)
    prepared.apply(enable_fake_quant)
    return seen


def layer_sqnr(imported: Imported, expected: Mapping[str, Array], model: QuantizedModel, raw: Array) -> dict[str, float]:
    """Signal to quantisation noise of each layer's output in dB, by tensor name; 100 where they are equal."""
    graph = imported.graph
    found: dict[str, float] = {}

    def visit(name: str, q: Array) -> None:
        if name not in imported.values:
            return
        node, value = imported.values[name]
        wanted = expected[node].transpose(value.order) if value.flat is None else expected[node][:, value.columns]
        got = dequantize(q, graph[name].scale, graph[name].zero_point).reshape(wanted.shape)
        noise = float(np.square(wanted - got, dtype=np.float64).sum())
        signal = float(np.square(wanted, dtype=np.float64).sum())
        found[name] = 10 * float(np.log10(signal / noise)) if noise > 1e-10 * signal and signal > 0 else 100.0

    graph.trace(graph_input(graph, model.data, model.preprocess, raw), visit=visit)
    return found


def report(graph: Graph, layers: Mapping[str, float]) -> str:
    """Markdown: each layer's shape, scale, zero point and signal to quantisation noise."""
    rows = ["| layer | operator | shape | scale | zero point | SQNR dB |", "|---|---|---|--:|--:|--:|"]
    for op in graph.ops:
        y = graph[op.output]
        shape = "x".join(map(str, y.shape[1:]))
        ratio = f"{layers[op.output]:.1f}" if op.output in layers else ""
        rows.append(f"| {op.output} | {op.kind} | {shape} | {y.scale:.4g} | {y.zero_point} | {ratio} |")
    return "\n".join(rows) + "\n"
