"""What a generated library shows to the program around it: its public header, and how raw values become its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.codegen.c_text import Names, integer_rows
from pipeline.codegen.templates import render
from pipeline.ir import Graph, Tensor
from pipeline.lowering.arena import ALIGNMENT, Plan
from pipeline.lowering.sizes import shape_text
from pipeline.preprocess import Normalization, Preprocess

C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "float32": "float"}


def io_scale(t: Tensor) -> float:
    """An input's or output's scale; values that are not quantised are their own real values."""
    return t.quant.scale[0] if t.quant else 1.0


def normalization_text(normalization: Normalization) -> str:
    """`(raw - 8) / 16`; with one value a channel, the formula and the values."""
    mean, std = (", ".join(f"{v:.9g}" for v in values) for values in (normalization.mean, normalization.std))
    if len(normalization.mean) == len(normalization.std) == 1:
        return f"(raw - {mean if normalization.mean[0] >= 0 else f'({mean})'}) / {std}"
    return f"(raw - mean) / std by channel, the last axis; mean {mean}; std {std}"


@dataclass(frozen=True, slots=True)
class HeaderTensor:
    """An input or output as the header shows it. `type` is C's for what the program writes or reads there, `word` what its
    accessor is called, `real` its scale and zero point in words."""

    name: str
    word: str
    type: str
    dtype: str
    shape: str
    bytes: int
    scale: float
    zero_point: int
    real: str


def public_header(
    p: str,
    graph: Graph,
    plan: Plan,
    preprocess: Preprocess | None,
    normalization: Normalization | None = None,
    classes: Sequence[str] = (),
) -> str:
    """`<p>.h`: sizes, scales, names and the functions; C99 and C++. `classes` are the names of output 0's values."""
    return render(
        "library/network.h.j2",
        name=graph.name,
        p=p,
        P=p.upper(),
        alignment=ALIGNMENT,
        taken=_taken(graph, preprocess, normalization),
        takes_floats=preprocess is None and normalization is not None,
        preprocess=preprocess.dtype if preprocess else None,
        normalization=normalization_text(normalization) if normalization else None,
        inputs=header_tensors(graph, graph.inputs, preprocess.dtype if preprocess else None),
        outputs=header_tensors(graph, graph.outputs),
        model_id=graph.sha256()[:16],
        macs=graph.macs(),
        arena_bytes=plan.arena_bytes,
        classes=classes,
    )


def header_tensors(graph: Graph, names: Sequence[str], raw: str | None = None) -> list[HeaderTensor]:
    """Of the graph's inputs or outputs. `raw`: the dtype of what the program writes into the first of them, where that is
    not the graph's own."""
    words = Names()
    found = []
    for i, name in enumerate(names):
        t = graph[name]
        real = f", scale {t.quant.scale[0]:.9g}, zero point {t.zero_point}" if t.quant and len(t.quant.scale) == 1 else ""
        written = C_TYPES[raw if raw and i == 0 else t.dtype]
        shown = (t.dtype, shape_text(t), t.nbytes, io_scale(t), t.zero_point, real)
        found.append(HeaderTensor(name, words.unique(name), written, *shown))
    return found


def _taken(graph: Graph, preprocess: Preprocess | None, normalization: Normalization | None) -> str:
    if preprocess:
        return f"raw {preprocess.dtype}"
    return "raw float" if normalization else graph[graph.inputs[0]].dtype


def _channel(values: Sequence[object]) -> str:
    """The index into a row of values by channel, the last axis, for the raw value `i`."""
    return f"i % {len(values)}" if len(values) > 1 else "0"


def float_input_header(p: str, x: Tensor, normalization: Normalization) -> str:
    """`<p>_preprocess.h` for raw float values: the data's normalisation and the input's quantisation, in one function."""
    mean, std = ([float(np.float32(v)) for v in values] for values in (normalization.mean, normalization.std))
    return render(
        "library/quantize_input.h.j2",
        p=p,
        P=p.upper(),
        mean=mean,
        std=std,
        channel=_channel,
        size=x.size,
        scale=io_scale(x),
        zero_point=x.zero_point,
    )


def preprocess_header(p: str, size: int, preprocess: Preprocess) -> str:
    """`<p>_preprocess.h`: one inline function over `size` raw values, the last axis being the channel."""
    tables = [] if preprocess.is_offset else [integer_rows(t, 12) for t in preprocess.tables]
    return render(
        "library/preprocess.h.j2",
        p=p,
        P=p.upper(),
        dtype=preprocess.dtype,
        size=size,
        tables=tables,
        channel=_channel,
    )
