"""What a generated library shows to the program around it: its public header, and the raw-byte preprocessing."""

from __future__ import annotations

import numpy as np

from pipeline.codegen.arena import ALIGNMENT, Plan
from pipeline.codegen.c_text import comment_text, float_literal, integer_rows
from pipeline.ir import Graph, Tensor
from pipeline.preprocess import Normalization, Preprocess

C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "float32": "float"}


def shape_text(t: Tensor) -> str:
    """`8x8x16`: the shape without its leading 1."""
    dims = t.shape[1:] if len(t.shape) > 1 and t.shape[0] == 1 else t.shape
    return "x".join(map(str, dims)) or "1"


def io_scale(t: Tensor) -> float:
    """An input's or output's scale; values that are not quantised are their own real values."""
    return t.quant.scale[0] if t.quant else 1.0


def normalization_text(normalization: Normalization) -> str:
    """`(raw - 8) / 16`; with one value a channel, the formula and the values."""
    mean, std = (", ".join(f"{v:.9g}" for v in values) for values in (normalization.mean, normalization.std))
    if len(normalization.mean) == len(normalization.std) == 1:
        return f"(raw - {mean if normalization.mean[0] >= 0 else f'({mean})'}) / {std}"
    return f"(raw - mean) / std by channel, the last axis; mean {mean}; std {std}"


def public_header(
    p: str, graph: Graph, plan: Plan, preprocess: Preprocess | None, normalization: Normalization | None = None
) -> str:
    """`<p>.h`: sizes, scales and the four functions; C99 and C++."""
    up = p.upper()
    floats = normalization if preprocess is None else None
    io = [*_io_macros(up, "INPUT", graph, graph.inputs), *_io_macros(up, "OUTPUT", graph, graph.outputs)]
    raw = (
        f"\n/* Turns the raw {preprocess.dtype} values in input 0 into the model's int8, in place: before {p}_invoke. */\n"
        f"void {p}_preprocess(void *arena);\n"
        if preprocess
        else f"\n/* Writes raw values, normalised and quantised, into input 0: before {p}_invoke. */\n"
        f"void {p}_quantize_input(void *arena, const float *raw);\n"
        if floats
        else ""
    )
    return f"""\
/* {comment_text(graph.name)}: an int8 neural network as plain C99. No heap, no libc, no interpreter. Generated; do not edit.
 *
 * All memory is one arena of {up}_ARENA_BYTES bytes, {ALIGNMENT}-byte aligned: yours, or {p}_static_arena when this
 * library and your code are compiled with -D{up}_STATIC_ARENA. One inference of {_taken(graph, preprocess, floats)} values:
 *
{_usage(p, up, graph, preprocess, floats)}
 *
 * Inference overwrites the inputs: write them again before each call. Outputs stay until the arena is written to. In memory
 * the last axis (channels) runs fastest. Nothing is kept outside the arena: each thread may have one of its own.
 * real = scale * (q - zero_point):
{_io_comment("input", graph, graph.inputs)}{_raw_comment(p, preprocess, normalization)}
{_io_comment("output", graph, graph.outputs)}
 */
#ifndef {up}_H
#define {up}_H

#include <stdint.h>

#define {up}_MODEL_ID "{graph.sha256()[:16]}"
#define {up}_MACS {graph.macs()}
#define {up}_ARENA_BYTES {plan.arena_bytes}
#define {up}_HAS_PREPROCESS {int(preprocess is not None)}

{chr(10).join(io)}

#ifdef __cplusplus
extern "C" {{
#endif

/* Input `index` to write before, output `index` to read after an inference; NULL when there is no such index. */
void *{p}_input(void *arena, int index);
const void *{p}_output(const void *arena, int index);
{raw}
/* One inference: from the inputs in the arena to the outputs in it. */
void {p}_invoke(void *arena);

#ifdef {up}_STATIC_ARENA
extern uint8_t {p}_static_arena[{up}_ARENA_BYTES];
#endif

#ifdef __cplusplus
}}
#endif

#endif
"""


def _usage(p: str, up: str, graph: Graph, preprocess: Preprocess | None, floats: Normalization | None) -> str:
    raw = f"\n *     {p}_preprocess(arena);" if preprocess else ""
    answer = f"const {C_TYPES[graph[graph.outputs[0]].dtype]} *"
    several = len(graph.inputs) > 1
    copies = "\n".join(
        f" *     memcpy({p}_input(arena, {i}), values{f'_{i}' if several else ''}, {up}_INPUT_{i}_BYTES);"
        for i in range(len(graph.inputs))
    )
    if floats:
        copies = f" *     {p}_quantize_input(arena, values);"
    return f"{copies}{raw}\n *     {p}_invoke(arena);\n *     {answer}answer = ({answer.rstrip()}){p}_output(arena, 0);"


def _taken(graph: Graph, preprocess: Preprocess | None, floats: Normalization | None) -> str:
    if floats:
        return "raw float"
    return f"raw {preprocess.dtype}" if preprocess else graph[graph.inputs[0]].dtype


def _io_comment(side: str, graph: Graph, names: tuple[str, ...]) -> str:
    lines = []
    for i, name in enumerate(names):
        t = graph[name]
        real = f", scale {t.quant.scale[0]:.9g}, zero point {t.zero_point}" if t.quant and len(t.quant.scale) == 1 else ""
        lines.append(f' * {side} {i}: "{comment_text(name)}" {t.dtype} {shape_text(t)}{real}')
    return "\n".join(lines)


def _raw_comment(p: str, preprocess: Preprocess | None, normalization: Normalization | None) -> str:
    if normalization is None:
        return ""
    maker = f"{p}_preprocess" if preprocess else f"{p}_quantize_input"
    return f"\n *     {maker} makes it of raw values: real = {normalization_text(normalization)}"


def _io_macros(up: str, side: str, graph: Graph, names: tuple[str, ...]) -> list[str]:
    lines = [
        f"#define {up}_{side}_COUNT {len(names)}",
        f"#define {up}_{side}_BYTES {sum(graph[n].nbytes for n in names)} /* of all {side.lower()}s together */",
    ]
    for i, name in enumerate(names):
        t = graph[name]
        lines.append(f"#define {up}_{side}_{i}_BYTES {t.nbytes}")
        lines.append(f"#define {up}_{side}_{i}_SCALE {float_literal(io_scale(t))}")
        lines.append(f"#define {up}_{side}_{i}_ZERO_POINT ({t.zero_point})")
    return lines


def float_input_header(p: str, x: Tensor, normalization: Normalization) -> str:
    """`<p>_preprocess.h` for raw float values: the data's normalisation and the input's quantisation, in one function."""

    def row(name: str, values: tuple[float, ...]) -> tuple[str, str]:
        """Its declaration, and the value for raw[i]."""
        literals = ", ".join(float_literal(float(np.float32(v))) for v in values)
        index = f"i % {len(values)}" if len(values) > 1 else "0"
        return f"    static const float {name}[{len(values)}] = {{ {literals} }};", f"{name}[{index}]"

    (means, mean), (stds, std) = row("mean", normalization.mean), row("std", normalization.std)
    return f"""\
/* Raw float values to the model's int8. Generated; do not edit. */
#ifndef {p.upper()}_PREPROCESS_H
#define {p.upper()}_PREPROCESS_H

#include "kernels/quantize_f32.h"

static inline void {p}_quantize_values(const float *raw, int8_t *x)
{{
{means}
{stds}

    for (int32_t i = 0; i < {x.size}; i++)
        x[i] = nn_quantize_f32((raw[i] - {mean}) / {std}, {float_literal(io_scale(x))}, {x.zero_point});
}}

#endif
"""


def preprocess_header(p: str, size: int, preprocess: Preprocess) -> str:
    """`<p>_preprocess.h`: one inline function over `size` raw values, the last axis being the channel."""
    table = ""
    if preprocess.is_offset and preprocess.dtype == "int8":
        body = "    (void)x; /* raw int8 values are the model's input as they are */"
    elif preprocess.is_offset:
        body = f"    for (int32_t i = 0; i < {size}; i++)\n        x[i] ^= 0x80; /* q = raw - 128 */"
    else:
        channels = len(preprocess.tables)
        index = f"i % {channels}" if channels > 1 else "0"
        body = f"    for (int32_t i = 0; i < {size}; i++)\n        x[i] = (uint8_t)table[{index}][x[i]];"
        rows = ",\n".join(f"        {{\n{integer_rows(t, 12)}\n        }}" for t in preprocess.tables)
        table = (
            "    /* The int8 value of each raw byte, per channel: the data's normalisation and the input's quantisation in "
            f"one. */\n    static const int8_t table[{channels}][256] = {{\n{rows}\n    }};\n\n"
        )
    return f"""\
/* Raw {preprocess.dtype} values to the model's int8, in place. Generated; do not edit. */
#ifndef {p.upper()}_PREPROCESS_H
#define {p.upper()}_PREPROCESS_H

#include <stdint.h>

static inline void {p}_preprocess_values(uint8_t *x)
{{
{table}{body}
}}

#endif
"""
