"""The ONNX importer: int8 QDQ graphs, as onnxruntime.quantization.quantize_static writes them, to an int8 graph.

ONNX has channels first, the Graph last: values carry the order in which their axes are stored, and bytes move only where
they must."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.errors import GraphError
from pipeline.importers.imported import Edge, EdgeType, Imported, OnnxSource
from pipeline.importers.onnx.builder import OnnxBuilder
from pipeline.importers.onnx.file import OnnxFile, OnnxNode, read_onnx
from pipeline.importers.onnx.nodes import NODES
from pipeline.importers.onnx.qdq import dequantize, quantize
from pipeline.importers.onnx.shapes import FOLDABLE, fold
from pipeline.ir import Array, Graph, Quant
from pipeline.ops.transpose import Transpose

DOMAINS = ("", "ai.onnx", "com.microsoft")  # onnxruntime's own domain has the same QuantizeLinear and DequantizeLinear
QUANTIZED = ("QuantizeLinear", "DequantizeLinear")
LAYOUTS = ((4,), (3, 4), ())  # how many axes the inputs have that are stored channels last; the first that moves least
SUPPORTED = ", ".join(sorted({*NODES, *QUANTIZED}))


def import_onnx(path: Path, calibration: Path | None = None) -> Imported:
    """The int8 graph of an .onnx file. A float model is quantised first, with the samples in `calibration` (.npz).
    GraphError names the node that can not be expressed; RecipeError when the samples do not fit."""
    file = read_onnx(path)
    if not any(n.op in QUANTIZED for n in file.nodes):
        _refuse_other_formats(file)
        if calibration is None:
            raise GraphError(
                f"{path} is a float model; to quantize it, real inputs are needed: --calibration FILE.npz with an array `x`."
            )
        from pipeline.importers.onnx.calibrate import quantized

        with quantized(path, file, calibration) as (int8_path, data):
            int8 = replace(read_onnx(int8_path), name=path.stem)
            content = int8_path.read_bytes()
        return _with_source(imported(int8), content, path, tuple(data))
    return _with_source(imported(file), path.read_bytes(), path)


def _with_source(model: Imported, content: bytes, path: Path, data: tuple[tuple[Array, ...], ...] = ()) -> Imported:
    """`model` with the file that it was read from and, where that was made of the float model at `path`, its samples."""
    assert model.onnx is not None
    return replace(model, onnx=replace(model.onnx, content=content, path=path, samples=data))


def imported(file: OnnxFile) -> Imported:
    """The graph with images among the inputs stored channels last, unless other layouts of the inputs save moves."""
    _refuse_unknown(file)
    best = _imported(file, LAYOUTS[0])
    for last in LAYOUTS[1:]:
        if _transposes(best) and any(shape is not None and len(shape) in (3, 4) for _, _, shape in file.inputs):
            other = _imported(file, last)
            best = other if _transposes(other) < _transposes(best) else best
    return best


def _transposes(model: Imported) -> int:
    return sum(isinstance(op, Transpose) for op in model.graph.ops)


def _imported(file: OnnxFile, last: tuple[int, ...]) -> Imported:
    b = OnnxBuilder(file, last)
    for node in file.nodes:
        _step(b, node)
    unused = [name for name, _, _ in file.inputs if name not in b.values]
    if unused or not file.inputs or not file.outputs:
        raise GraphError(
            f"{file.name}: input {', '.join(map(repr, unused)) or 'none'} is not used, or there is no input or output"
        )
    inputs = [b.values[name] for name, _, _ in file.inputs]
    outputs = [b.output(name) for name, _, _ in file.outputs]
    if not b.ops or {v.name for v in inputs} & {v.name for v in outputs} or len({v.name for v in outputs}) < len(outputs):
        raise GraphError(
            f"{file.name}: an output is an input as it is, or the same as another output; there is nothing to compute"
        )
    graph = Graph(file.name, b.tensors, tuple(b.ops), tuple(v.name for v in inputs), tuple(v.name for v in outputs))
    sides = [
        (declared, value)
        for side in ((file.inputs, inputs), (file.outputs, outputs))
        for declared, value in zip(*side, strict=True)
    ]
    edges = [_edge(name, dtype, b.quant_of(value)) for (name, dtype, _), value in sides]
    points = tuple(
        (name, b.values[name])
        for node in file.nodes
        for name in node.outputs[:1]
        if node.op == "DequantizeLinear" and name in b.values
    )
    source = OnnxSource(tuple(inputs), tuple(outputs), points)
    graph = graph.with_ops(b.ops).checked()
    return Imported(graph, tuple(edges[: len(inputs)]), tuple(edges[len(inputs) :]), onnx=source)


def _edge(name: str, dtype: str, quant: Quant) -> Edge:
    kinds: dict[str, EdgeType] = {"float32": "float32", "int8": "int8", "uint8": "uint8"}
    if dtype not in kinds:
        raise GraphError(f"{name!r} is {dtype}; inputs and outputs must be float32, int8 or uint8")
    unsigned = Quant(quant.scale, quant.zero_point + 128) if dtype == "uint8" else None
    return Edge(name, kinds[dtype], quant, unsigned)


def _step(b: OnnxBuilder, node: OnnxNode) -> None:
    if node.outputs[0] in b.done:
        return
    for name in node.outputs:
        if name and (name in b.values or name in b.constants or name in b.integers):
            raise node.fail(f"writes {name!r} a second time")
    if node.op == "QuantizeLinear":
        quantize(b, node)
    elif node.op == "DequantizeLinear":
        dequantize(b, node)
    elif node.op == "Shape" and node.inputs and (node.inputs[0] in b.values or b.is_constant(node.inputs[0])):
        b.constants[node.outputs[0]] = _shape(b, node)
    elif node.op in FOLDABLE and all(b.is_constant(name) for name in node.inputs if name):
        given = [b.constants[name] if name in b.constants else b.integers[name].real for name in node.inputs if name]
        value = fold(node, given)
        if value is None:
            raise node.fail("it computes constants that are too large to be computed beforehand")
        b.constants[node.outputs[0]] = value
    elif node.op in NODES:
        NODES[node.op](b, node)
    else:
        raise node.fail(f"it is supported on values known beforehand only. Supported operators: {SUPPORTED}")


def _shape(b: OnnxBuilder, node: OnnxNode) -> np.ndarray:
    name = node.inputs[0]
    shape = b.values[name].shape if name in b.values else b.constant(node, 0, "").shape
    return np.array(shape, np.int64)[node.integer("start", 0) : node.integer("end", len(shape))]


def _refuse_other_formats(file: OnnxFile) -> None:
    for n in file.nodes:
        if n.op.startswith("QLinear") or n.op in ("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QGemm"):
            raise n.fail(
                "the model is quantised in operator or dynamic form; quantize_static(..., quant_format=QuantFormat.QDQ) "
                "gives the form that is imported, or pass the float model with --calibration"
            )


def _refuse_unknown(file: OnnxFile) -> None:
    _refuse_other_formats(file)
    for n in file.nodes:
        if not n.outputs or not n.outputs[0]:
            raise n.fail("it has no output")
        if n.domain not in DOMAINS:
            raise n.fail(f"operators of domain {n.domain!r} are not supported. Supported: {SUPPORTED}")
        if n.op not in {*NODES, *FOLDABLE, *QUANTIZED, "Shape"}:
            raise n.fail(f"it is not supported. Supported operators: {SUPPORTED}")
