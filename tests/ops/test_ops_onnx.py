"""Each operator's case table as ONNX: within the tolerance table in ONNX Runtime, and its float form close."""

from __future__ import annotations

import numpy as np
import pytest
from case import Case, vectors
from test_ops import OPS, cases_of

from pipeline.codegen.onnx.to_onnx import save, to_float_onnx
from pipeline.errors import MismatchError
from pipeline.fixedpoint import dequantize
from pipeline.ops import all_ops
from pipeline.ops._onnx import InOnnx
from pipeline.proof.onnxruntime import agreement, session
from pipeline.proof.tolerances import LAYER

# Where TFLM's arithmetic or ONNX Runtime's leaves the real numbers; no network has such scales.
FURTHER = {
    "add-fine_output": "the sum is 2**20 times finer than the output: TFLM's multiplier runs out of bits",
    "logistic-one_step_saturates": "TFLM's fixed-point input overflows",
    "logistic-very_coarse": "TFLM's fixed-point input overflows",
    "mean-scaled_to_nothing": "ONNX Runtime refuses the ratio of the scales",
    "quantize-beyond_32_bits": "TFLM's left shift wraps",
    "softmax-one": "ONNX Runtime wraps the probability 256/256 of a lone value",
    "tanh-one_step_saturates": "TFLM's fixed-point input overflows",
}
ROWS = [pytest.param(case, f"{op}-{name}", id=f"{op}-{name}") for op in OPS for name, case in cases_of(op).items()]


@pytest.mark.parametrize("op", OPS)
def test_has_onnx_nodes_and_a_tolerance(op: str) -> None:
    assert issubclass(all_ops()[op], InOnnx), f"write the ONNX nodes of {op}: its method `onnx`"
    assert all_ops()[op].rounding in LAYER, f"give {op} a `rounding`, a row of pipeline/proof/tolerances.py"


@pytest.mark.parametrize(("case", "name"), ROWS)
def test_onnx_is_within_its_tolerance(case: Case, name: str) -> None:
    graph = case.graph.checked()
    if name in FURTHER:
        with pytest.raises(MismatchError, match="ONNX Runtime"):
            agreement(graph, *vectors(graph)).checked()
    else:
        agreement(graph, *vectors(graph)).checked()


@pytest.mark.parametrize("op", OPS)
def test_float_form_is_the_same_function(op: str) -> None:
    """On random vectors, wherever the quantised output does not saturate: within three steps of the reference."""
    for name, case in cases_of(op).items():
        graph = case.graph
        y = graph[graph.outputs[0]]
        if (
            f"{op}-{name}" in FURTHER
            or y.dtype != "int8"
            or y.scale < 2e-3
            or any(graph[n].dtype != "int8" for n in graph.inputs)
        ):
            continue
        inputs = [x[10:] for x in vectors(graph)]
        reference = graph.run(*inputs)[0].astype(np.int32)
        s = session(save(to_float_onnx(graph)))
        for i in range(len(reference)):
            feed = {
                n: dequantize(x[i], graph[n].scale, graph[n].zero_point) for n, x in zip(graph.inputs, inputs, strict=True)
            }
            real = np.asarray(s.run(None, feed)[0]) / y.scale + y.zero_point
            inside = (reference[i] > -128) & (reference[i] < 127)
            assert np.abs(real - reference[i])[inside].max(initial=0) <= 3, name
