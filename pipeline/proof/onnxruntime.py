"""How far ONNX Runtime's answers are from the integer reference: layer by layer on equal inputs, and end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.codegen.onnx.to_onnx import save, to_onnx
from pipeline.codegen.onnx.writer import from_stored, to_stored
from pipeline.errors import MismatchError, first_line
from pipeline.evidence import Comparison, Differences
from pipeline.ir import Array, Graph, Op
from pipeline.proof.tolerances import Tolerance, onnxruntime_layer

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator alone, fed with the reference's inputs."""

    tensor: str
    kind: str
    differences: Differences
    tolerance: Tolerance


@dataclass(frozen=True, slots=True)
class Agreement:
    """Each layer alone on `layer_vectors` inputs, and all of them in a row."""

    layer_vectors: int
    layers: tuple[Layer, ...]
    end_to_end: Comparison

    def checked(self) -> Agreement:
        """Self, or MismatchError naming the layers that are further from the reference than the table allows."""
        bad = [layer for layer in self.layers if layer.differences.max_lsb > layer.tolerance.lsb]
        if bad:
            listed = "; ".join(
                f"{b.kind} {b.tensor!r} by {b.differences.max_lsb} LSB (allowed {b.tolerance.lsb})" for b in bad[:4]
            )
            raise MismatchError(
                f"ONNX Runtime is further from the integer reference than pipeline/proof/tolerances.py allows: {listed}. "
                "The .onnx file does not compute this graph; do not deploy it."
            )
        return self


def agreement(graph: Graph, *inputs: Array, layer_vectors: int = 16) -> Agreement:
    """Compare on n int8 vectors per graph input, (n, *shape); the layers on the first `layer_vectors` of them."""
    some = [x[:layer_vectors] for x in inputs]
    values: dict[str, Array] = dict(zip(graph.inputs, some, strict=True))
    graph.trace(*some, visit=lambda name, y: values.__setitem__(name, y))
    layers = tuple(_layer(graph, op, values) for op in graph.ops)
    return Agreement(len(some[0]), layers, compare(graph, run_onnx(graph, *inputs), graph.run(*inputs)))


def compare(graph: Graph, got: Sequence[Array], reference: Sequence[Array]) -> Comparison:
    """Two sets of answers to the same n inputs, each (n, *output shape)."""
    n = len(reference[0])
    differences = Differences.between(got, reference, [_lsb(graph, name) for name in graph.outputs])
    if len(got) > 1 or got[0].size == n:
        return Comparison(n, differences, None)
    same = got[0].reshape(n, -1).argmax(axis=1) == reference[0].reshape(n, -1).argmax(axis=1)
    return Comparison(n, differences, float(same.mean()))


def _layer(graph: Graph, op: Op, values: Mapping[str, Array]) -> Layer:
    activations = tuple(dict.fromkeys(n for n in op.inputs if graph[n].data is None))
    alone = Graph(f"{graph.name}_layer", graph.tensors, (op,), activations, op.outputs)
    got = run_onnx(alone, *(values[n] for n in activations))
    differences = Differences.between(got, [values[n] for n in op.outputs], [_lsb(graph, n) for n in op.outputs])
    return Layer(op.output, op.kind, differences, onnxruntime_layer(op))


def _lsb(graph: Graph, tensor: str) -> float:
    """1 for an integer tensor; for a dequantised one, the scale of what it was dequantised from."""
    if graph[tensor].dtype != "float32":
        return 1.0
    return next((graph[op.inputs[0]].scale for op in graph.ops if tensor in op.outputs), 1.0)


def run_onnx(graph: Graph, *inputs: Array) -> tuple[Array, ...]:
    """As Graph.run, but `to_onnx(graph)` in ONNX Runtime on this machine: int8 in, int8 out, one vector at a time."""
    feeds = [to_stored(x) for x in inputs]
    model = save(to_onnx(graph))
    try:
        s = session(model)
        answers = [s.run(None, dict(zip(graph.inputs, vector, strict=True))) for vector in zip(*feeds, strict=True)]
    except Exception as e:  # onnxruntime's exceptions have no common class; its first line names the node
        raise MismatchError(f"ONNX Runtime refuses the file of graph {graph.name!r}: {first_line(e)}") from None
    outputs = [np.stack(y) for y in zip(*answers, strict=True)]
    return tuple(from_stored(y, graph[name]) for name, y in zip(graph.outputs, outputs, strict=True))


def session(model: bytes, *, literal: bool = False, folder: Path | None = None) -> InferenceSession:
    """One thread, on the CPU, with exact integer sums on every x86 (without this, old ones saturate pairs to 16 bits).
    `literal`: node by node as the file says, nothing fused. `folder`: where weights lie that are not in the file."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors come as exceptions
    options.add_session_config_entry("session.x64quantprecision", "1")
    if literal:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
