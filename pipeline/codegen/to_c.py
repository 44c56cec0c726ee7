"""Interpreter-free C from an int8 graph: a list of kernel calls, const data, and a small API around them.

Generated code holds facts only; the algorithms are the kernels in firmware_templates/kernels, included as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.codegen.c_header import C_TYPES, float_input_header, preprocess_header, public_header
from pipeline.codegen.c_text import Names, comment_text, identifier, string_text
from pipeline.codegen.c_values import Constants
from pipeline.codegen.templates import render
from pipeline.errors import BuildError, did_you_mean
from pipeline.ir import Graph, Op
from pipeline.kernel import Kernel
from pipeline.locations import data_dir
from pipeline.lowering.arena import ALIGNMENT, Plan, Slot
from pipeline.lowering.lower import Layer, Lowered
from pipeline.lowering.sizes import shape_text
from pipeline.preprocess import Normalization, Preprocess


def prefix(graph: Graph) -> str:
    """The C identifier every public name of the generated library starts with; never the name of a firmware file."""
    word = identifier(graph.name).lower()
    taken = {path.name.split(".")[0] for path in (data_dir("firmware_templates") / "cortex_m").iterdir()}
    return f"{word}_net" if word in taken else word


def to_c(
    lowered: Lowered,
    preprocess: Preprocess | None = None,
    normalization: Normalization | None = None,
    classes: Sequence[str] = (),
) -> dict[str, str]:
    """`<p>.h`, `<p>.c`, `<p>_weights.h` and, with a preprocess or a normalization, `<p>_preprocess.h` as text, by file name.
    Beside them goes `kernels/` with `kernel_headers`. Without a preprocess, raw values of the data are floats. `classes` are
    the names of the first output's values."""
    graph, plan = lowered.graph, lowered.arena
    p = prefix(graph)
    constants = Constants(graph)
    names = Names()
    at = {name: names.unique(name) for name in plan.slots}
    places = {n: f"arena + AT_{at[n]}" if n in at else constants.tensor(n) for n in (*graph.inputs, *graph.outputs)}
    source = render(
        "library/network.c.j2",
        name=graph.name,
        p=p,
        P=p.upper(),
        alignment=ALIGNMENT,
        kernels=lowered.kernel_names,
        preprocess=preprocess is not None,
        takes_floats=preprocess is None and normalization is not None,
        places=[_Place(f"AT_{at[n]}", slot.offset, _lifetime(graph, n, slot)) for n, slot in plan.slots.items()],
        inputs=[places[n] for n in graph.inputs],
        outputs=[places[n] for n in graph.outputs],
        input_word=f"AT_{at[graph.inputs[0]]}",
        layers=[_layer(i, layer, graph, plan, at, constants) for i, layer in enumerate(lowered.layers)],
    )
    header = public_header(p, graph, plan, preprocess, normalization, classes)
    files = {f"{p}.h": header, f"{p}.c": source, f"{p}_weights.h": constants.header(p)}
    if preprocess:
        files[f"{p}_preprocess.h"] = preprocess_header(p, graph[graph.inputs[0]].size, preprocess)
    elif normalization:
        files[f"{p}_preprocess.h"] = float_input_header(p, graph[graph.inputs[0]], normalization)
    return files


def kernel_headers(lowered: Lowered, *, floats: bool = False) -> tuple[Path, ...]:
    """The kernel headers the calls need, and raw `floats` do, those they include among them, sorted by name."""
    return follow_includes([*lowered.kernel_names, *(["quantize_f32"] if floats else [])])


def follow_includes(kernels: Iterable[str]) -> tuple[Path, ...]:
    folder = data_dir("firmware_templates") / "kernels"
    found: dict[str, Path] = {}
    wanted = [f"{k}.h" for k in kernels] + ["nn.h"]
    while wanted:
        name = wanted.pop()
        path = folder / name
        if not path.is_file():
            known = sorted(f.stem for f in folder.glob("*_s8*.h"))
            raise BuildError(f"there is no kernel {name} in {folder}.{did_you_mean(name, known)} Have: {', '.join(known)}.")
        if name not in found:
            found[name] = path
            wanted += re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
    return tuple(found[n] for n in sorted(found))


def describe(i: int, op: Op, graph: Graph) -> str:
    """One layer in one line: `3: conv2d "features.0" 8x8x1 -> 8x8x16, 9,216 MACs`."""
    activations = [n for n in op.inputs if graph[n].data is None]
    shapes = " + ".join(shape_text(graph[n]) for n in activations)
    macs = op.macs(graph)
    results = ", ".join(shape_text(graph[n]) for n in op.outputs)
    return f'{i}: {op.kind} "{op.output}" {shapes} -> {results}' + (f", {macs:,} MACs" if macs else "")


def _pointer(name: str, graph: Graph, at: dict[str, str], constants: Constants) -> str:
    """The C expression for a tensor's first element: in the arena, or a constant array."""
    if graph[name].data is not None:
        return constants.tensor(name)
    place = f"arena + AT_{at[name]}"
    dtype = graph[name].dtype
    return place if dtype == "int8" else f"({C_TYPES[dtype]} *)(void *)({place})"


def _layer(i: int, layer: Layer, graph: Graph, plan: Plan, at: dict[str, str], constants: Constants) -> str:
    op, kernels = layer.op, layer.kernels
    lines = [f"    /* {comment_text(describe(i, op, graph))} */"]
    for j, kernel in enumerate(kernels):
        stem = at[op.output] + (f"_{j}" if len(kernels) > 1 else "")
        params = constants.struct(kernel.name, stem, kernel.params, describe(i, op, graph))
        lines.append(f"    {kernel.name}({', '.join([params, *_arguments(i, kernel, graph, plan, at, constants)])});")
    if not kernels:
        lines.append(f"    /* no code: the same bytes as {comment_text(op.inputs[0])} */")
    for name in op.outputs:
        pointer = _pointer(name, graph, at, constants)
        lines.append(f'    NN_TRACE({i}, "{string_text(name)}", {pointer}, {graph[name].nbytes});')
    return "\n".join(lines)


def _arguments(i: int, kernel: Kernel, graph: Graph, plan: Plan, at: dict[str, str], constants: Constants) -> Iterable[str]:
    for name in (*kernel.inputs, *kernel.outputs):
        yield _pointer(name, graph, at, constants)
    if kernel.scratch_bytes:
        yield f"(void *)(arena + {plan.scratch[i].offset})"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an activation lives: the constant's name, its value, and what is there from when to when."""

    word: str
    offset: int
    what: str


def _lifetime(graph: Graph, name: str, slot: Slot) -> str:
    first = "the input" if slot.first < 0 else f"layer {slot.first}"
    last = "the end" if slot.last >= len(graph.ops) else f"layer {max(slot.last, 0)}"
    return f"{shape_text(graph[name])} {graph[name].dtype}, from {first} to {last}"
