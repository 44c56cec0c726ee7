"""The user's own .onnx file, run as it is in ONNX Runtime: what everything else proves of files that were written from the
graph, this proves of the file that was given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, ValueInfoProto

from pipeline.errors import GraphError, first_line
from pipeline.evidence import SourceProof
from pipeline.importers.imported import Edge, Imported
from pipeline.importers.stored import Value
from pipeline.ir import Array, Graph
from pipeline.proof.layers import Layer, Seen, exact, first_apart, layers
from pipeline.proof.onnxruntime import session
from pipeline.proof.tflm import require_equal
from pipeline.proof.tolerances import FLOAT_MODEL_DB

_MOST_VALUES = 1 << 26  # of the file's, held at a time
_MOST_SAMPLES = 32


def prove_onnx(imported: Imported, graph: Graph, int8_inputs: Sequence[Array]) -> SourceProof:
    """Hold the file's own values against the reference's, layer by layer, for these inputs of `graph`, which is `imported`
    optimised; of a file made of a float model, that model's answers to its samples, too. GraphError naming the first layer
    that is further away than pipeline/proof/tolerances.py allows, or when ONNX Runtime can not run the file."""
    source = imported.onnx
    assert source is not None
    n, most, equal = len(int8_inputs[0]), 0, 0
    compared = (*(value for _, value in source.points), *source.outputs)
    step = max(1, _MOST_VALUES // sum(math.prod(value.shape) for value in compared))
    for i in range(0, n, step):
        found = onnx_layers(imported, [x[i : i + step] for x in int8_inputs])
        wrong = first_apart(found)
        if wrong:
            raise GraphError(
                f"{graph.name!r} computes something else in ONNX Runtime than was read from the file: {wrong}. Firmware of "
                "it would not be exact, so none is made. Export the model anew; if the file is sound, report a bug."
            )
        most = max(most, *(layer.lsb for layer in found))
        equal += exact(found)
    require_equal(graph, "the graph as imported", graph.run(*int8_inputs), imported.graph.run(*int8_inputs))
    note = "each layer on the file's own values"
    if source.samples:
        note += f"; {_checked_float(imported):.1f} dB signal to noise against the float model"
    return SourceProof("onnxruntime", n, equal, most, note)


def onnx_layers(imported: Imported, int8_inputs: Sequence[Array]) -> list[Layer]:
    """Each layer's distance from what the file computes for these inputs of the graph."""
    source = imported.onnx
    assert source is not None
    sides = zip(imported.inputs, source.inputs, int8_inputs, strict=True)
    feeds = [(edge, _as_file_has_it(edge.from_int8(x), value)) for edge, value, x in sides]
    names = [*(name for name, _ in source.points), *(edge.name for edge in imported.outputs)]
    answers = run(source.content, source.path.parent, {edge.name: x for edge, x in feeds}, names)
    seen = [Seen(name, value, answers[name]) for name, value in source.points]
    ends = zip(imported.outputs, source.outputs, strict=True)
    seen += [Seen(edge.name, value, _real(edge, answers[edge.name])) for edge, value in ends]
    return layers(imported.graph, int8_inputs, seen)


def _as_file_has_it(stored: Array, value: Value) -> Array:
    """(n, *stored shape) in the file's order of axes."""
    n = len(stored)
    wide = stored.reshape(n, *(value.shape[axis] for axis in value.order))
    return np.ascontiguousarray(wide.transpose(0, *(1 + int(i) for i in np.argsort(value.order))))


def _real(edge: Edge, y: Array) -> Array:
    """An output of the file's as real numbers."""
    if edge.dtype == "float32":
        return y
    unsigned = 128 if edge.dtype == "uint8" else 0
    return (y.astype(np.float64) - unsigned - edge.quant.zero_point) * edge.quant.scale[0]


def run(content: bytes, folder: Path, feeds: dict[str, Array], names: Sequence[str]) -> dict[str, Array]:
    """What the file computes for n inputs, (n, 1, ...), one after the other: its values `names`, each (n, ...)."""
    model = ModelProto.FromString(content)
    there = {output.name for output in model.graph.output}
    model.graph.output.extend(ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in there)
    rows: list[list[Array]] = []
    try:
        s = session(model.SerializeToString(), literal=True, folder=folder)
        for vector in zip(*feeds.values(), strict=True):
            rows.append(s.run(list(names), dict(zip(feeds, vector, strict=True))))
    except Exception as e:  # onnxruntime's exceptions have no common class; its first line names the node
        raise GraphError(
            f"ONNX Runtime can not run the file, so nobody can say what it computes: {first_line(e)}. Export the model anew."
        ) from None
    return {name: np.stack(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def _checked_float(imported: Imported) -> float:
    """The least ratio of signal to quantisation noise, in dB, of an output on the samples. GraphError below the floor."""
    least = math.inf
    for edge, wanted, got in _float_answers(imported):
        signal, noise = float(np.square(wanted).mean()), float(np.square(wanted - got).mean())
        ratio = 10 * math.log10(signal / noise) if noise > 1e-10 * signal > 0 else 100.0
        if noise > signal * 10 ** (-FLOAT_MODEL_DB / 10) and math.sqrt(noise) > edge.quant.scale[0]:
            raise GraphError(
                f"output {edge.name!r} in int8 is not the float model's: on the calibration samples the error "
                f"is {math.sqrt(noise):.3g}, the values are {math.sqrt(signal):.3g} (root mean square). Calibrate with real "
                "inputs, scaled as the model takes them; if they are, report a bug."
            )
        least = min(least, ratio)
    return least


def _float_answers(imported: Imported) -> list[tuple[Edge, Array, Array]]:
    """Each output of the float model's for the samples, and the int8 graph's in real numbers."""
    source, graph = imported.onnx, imported.graph
    assert source is not None
    samples = source.samples[:: math.ceil(len(source.samples) / _MOST_SAMPLES)]
    feeds = {edge.name: np.stack(x) for edge, x in zip(imported.inputs, zip(*samples, strict=True), strict=True)}
    answers = run(source.path.read_bytes(), source.path.parent, feeds, [edge.name for edge in imported.outputs])
    sides = zip(imported.inputs, source.inputs, strict=True)
    int8 = graph.run(*(_as_graph_has_it(graph, value, edge.to_int8(feeds[edge.name])) for edge, value in sides))
    ends = zip(imported.outputs, source.outputs, int8, strict=True)
    return [(edge, answers[edge.name].astype(np.float64), _as_file_has_it(edge.from_int8(y), v)) for edge, v, y in ends]


def _as_graph_has_it(graph: Graph, value: Value, x: Array) -> Array:
    """(n, *shape in the file) in the graph's order of axes."""
    return x.transpose(0, *(1 + axis for axis in value.order)).reshape(len(x), *graph[value.name].shape)
