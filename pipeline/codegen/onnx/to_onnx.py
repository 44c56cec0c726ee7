"""An int8 graph as an .onnx file in QDQ form, and the float model beside it.

Opset 17 and IR version 8: what ONNX Runtime 1.12 (2022) and every later one loads. Activations are uint8, weights int8 a
channel, biases int32. ONNX Runtime fuses this form completely into its integer kernels on Arm and on x86 alike, with equal
results; int8 activations are fused on Arm only. docs/raspberry-pi.md has the figures behind the choice.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from pipeline.codegen.onnx.nodes import write_op
from pipeline.codegen.onnx.writer import OFFSET, FloatWriter, QdqWriter, Writer
from pipeline.errors import GraphError, first_line
from pipeline.ir import Graph
from pipeline.locations import version
from pipeline.preprocess import Normalization, Preprocess

if TYPE_CHECKING:
    from torch import nn

OPSET, IR_VERSION = 17, 8
ELEMENTS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "float32": TensorProto.FLOAT}
_TORCH_OUTPUT = "torch/output"  # torch refuses some names that a layer may have: nn.Sequential's are numbers


@dataclass(frozen=True, slots=True)
class Raw:
    """What the file's one input takes instead of the graph's own quantised values: raw sensor values, NHWC. At least one is
    given: bytes go through `preprocess`, floats through `normalization` and the graph's input quantisation."""

    preprocess: Preprocess | None
    normalization: Normalization | None

    @property
    def dtype(self) -> str:
        return self.preprocess.dtype if self.preprocess else "float32"


def to_onnx(graph: Graph, raw: Raw | None = None, classes: tuple[str, ...] = ()) -> onnx.ModelProto:
    """The QDQ model. Inputs and outputs have the graph's names and shapes and are uint8 (int8 + 128); with `raw`, the input
    is raw values. GraphError names an operator without an ONNX form."""
    w = QdqWriter(graph)
    inputs = [_quantized_input(w, raw)] if raw else _plain_inputs(w)
    return _model(w, inputs, raw, classes, "int8, QDQ")


def to_float_onnx(graph: Graph, raw: Raw | None = None, classes: tuple[str, ...] = ()) -> onnx.ModelProto:
    """The same graph in float32, its weights and biases dequantised; outputs are real values."""
    w = FloatWriter(graph)
    inputs = [_float_input(w, raw)] if raw else _plain_inputs(w)
    return _model(w, inputs, raw, classes, "float32 of the int8 graph")


def module_to_onnx(module: nn.Module, graph: Graph, raw: Raw, classes: tuple[str, ...] = ()) -> onnx.ModelProto:
    """A float torch module (normalised NCHW in, logits out) with the same raw NHWC input as `to_onnx` gives the int8 model.

    Exported by torch; `graph` is its int8 form, of which it has the input shape and the names."""
    import torch

    name, output = graph.inputs[0], graph.outputs[0]
    n, h, width, c = graph[name].shape
    with TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the TorchScript exporter warns of its age; the other needs two more packages
        file = Path(folder) / "float.onnx"
        torch.onnx.export(
            module, (torch.zeros(n, c, h, width),), file, dynamo=False, opset_version=OPSET,
            input_names=[f"{name}/nchw"], output_names=[_TORCH_OUTPUT],
        )  # fmt: skip
        exported = onnx.load(file)
    for node in exported.graph.node:
        node.output[:] = [output if value == _TORCH_OUTPUT else value for value in node.output]
    w = FloatWriter(graph)
    inputs = [_float_input(w, raw)]
    w.stored(name, "nchw")
    w.nodes.extend(exported.graph.node)
    w.constants.update({t.name: t for t in exported.graph.initializer})
    w.known[output, "nhwc"] = output
    return _model(w, inputs, raw, classes, "float32, exported by torch", write=False)


def _plain_inputs(w: Writer) -> list[onnx.ValueInfoProto]:
    w.known.update({(name, "nhwc"): name for name in w.graph.inputs})
    return [_info(w, name) for name in w.graph.inputs]


def _info(w: Writer, name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, w.element(w.graph[name]), w.graph[name].shape)


def _quantized_input(w: QdqWriter, raw: Raw) -> onnx.ValueInfoProto:
    """Nodes from raw values to the stored input, exact for bytes; none at all when the tables say q = raw - 128."""
    name, p = _only_input(w.graph), raw.preprocess
    if p is None:
        value = w.quantized(_normalized(w, name, raw), name, f"{name}/quantized")
    elif p.is_offset and p.dtype == "uint8":
        value = name
    else:
        value = _looked_up(w, name, p)
    w.known[name, "nhwc"] = value
    return helper.make_tensor_value_info(name, ELEMENTS[raw.dtype], w.graph[name].shape)


def _float_input(w: FloatWriter, raw: Raw) -> onnx.ValueInfoProto:
    name, p = _only_input(w.graph), raw.preprocess
    by_table = p if raw.normalization is None else None  # the tables are rounded, the normalisation is not
    w.known[name, "nhwc"] = _looked_up(w, name, by_table) if by_table else _normalized(w, name, raw)
    return helper.make_tensor_value_info(name, ELEMENTS[raw.dtype], w.graph[name].shape)


def _looked_up(w: Writer, name: str, p: Preprocess) -> str:
    """The stored value of each raw byte, from its channel's table."""
    shift = OFFSET if p.dtype == "int8" else 0  # the index is the byte for uint8, value + 128 for int8
    tables = w.encode(w.graph[name], np.roll(p.tables, shift, axis=1))
    offsets = np.arange(len(tables), dtype=np.int32) * 256 + np.int32(shift)
    index = w.node("Cast", [name], f"{name}/int32", to=TensorProto.INT32)
    index = w.node("Add", [index, w.constant(f"{name}/offset", offsets)], f"{name}/index")
    return w.node("Gather", [w.constant(f"{name}/table", tables.reshape(-1)), index], f"{name}/looked_up")


def _normalized(w: Writer, name: str, raw: Raw) -> str:
    """(raw - mean) / std along the last axis."""
    assert raw.normalization is not None  # given when there is no preprocess
    value = name if raw.dtype == "float32" else w.node("Cast", [name], f"{name}/float", to=TensorProto.FLOAT)
    mean, std = (np.array(v, np.float32) for v in (raw.normalization.mean, raw.normalization.std))
    value = w.node("Sub", [value, w.constant(f"{name}/mean", mean)], f"{name}/centred")
    return w.node("Div", [value, w.constant(f"{name}/std", std)], f"{name}/normalized")


def _only_input(graph: Graph) -> str:
    if len(graph.inputs) != 1:
        raise GraphError(f"graph {graph.name!r} has {len(graph.inputs)} inputs; raw values can be taken by one only")
    return graph.inputs[0]


def _model(
    w: Writer, inputs: list[onnx.ValueInfoProto], raw: Raw | None, classes: tuple[str, ...], form: str, *, write: bool = True
) -> onnx.ModelProto:
    graph = w.graph
    if write:
        for op in graph.ops:
            write_op(op, w)
    for name in graph.outputs:
        w.stored(name)  # in the graph's own layout, whatever it was computed in
    outputs = [_info(w, name) for name in graph.outputs]
    body = helper.make_graph(w.nodes, graph.name, inputs, outputs, list(w.constants.values()))
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="tinyml-pipeline", producer_version=version(), doc_string=f"{graph.name} ({form})",
    )  # fmt: skip
    helper.set_model_props(model, _metadata(w, raw, classes))
    try:
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as e:
        raise GraphError(f"graph {graph.name!r} can not be written as ONNX: {first_line(e)}") from None
    return model


def _metadata(w: Writer, raw: Raw | None, classes: tuple[str, ...]) -> dict[str, str]:
    """Strings by key, each a JSON value: what a program that only has the file needs to know."""

    def described(name: str) -> dict[str, Any]:
        t = w.graph[name]
        if w.element(t) == TensorProto.FLOAT:
            return {"name": name, "shape": t.shape, "dtype": "float32"}
        zero_point = t.zero_point + (OFFSET if t.dtype == "int8" else 0)
        return {"name": name, "shape": t.shape, "dtype": "uint8", "scale": t.scale, "zero_point": zero_point}

    values: dict[str, Any] = {"graph_sha256": w.graph.sha256(), "outputs": [described(n) for n in w.graph.outputs]}
    if raw:
        t = w.graph[w.graph.inputs[0]]
        values["inputs"] = [{"name": w.graph.inputs[0], "shape": t.shape, "dtype": raw.dtype, "values": "raw, NHWC"}]
        if raw.normalization:
            values["normalization"] = asdict(raw.normalization)
    else:
        values["inputs"] = [described(n) for n in w.graph.inputs]
    if classes:
        values["classes"] = classes
    return {key: json.dumps(value) for key, value in values.items()}


def save(model: onnx.ModelProto) -> bytes:
    """The file's bytes; the same model gives the same bytes."""
    return bytes(model.SerializeToString(deterministic=True))
