"""The user's own .tflite file, run as it is: what everything else proves of a file that was written from the graph, this
proves of the file that was given. A value that the importer misreads is misread by reference, C and TFLM alike; not here.

TFLM's reference kernels answer for the file; LiteRT's where TFLM can not run it, or is known to be wrong on it. All run in a
child process: on odd files they end the process that they are in."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.errors import BuildError, GraphError
from pipeline.evidence import Engine, SourceProof
from pipeline.host.processes import own_environment, run_group
from pipeline.importers.imported import Edge, Imported
from pipeline.importers.tflite.importer import import_tflite
from pipeline.ir import Array, Graph
from pipeline.proof.tflite_worker import INPUTS, MODEL, OUTPUTS, REFUSED
from pipeline.proof.tflm import Difference, first_difference, tflm_available
from pipeline.proof.tolerances import LITERT_OPTIMISED
from pipeline.proof.vectors import Vectors

SOURCE = "source.tflite"
"""The copy of the user's file in a firmware folder."""
TIMEOUT_S = 900
ENGINES: dict[Engine, str] = {
    "tflm": "TensorFlow Lite Micro",
    "litert": "LiteRT's reference kernels",
    "litert_optimised": "LiteRT's optimised kernels",
}
"""In the order in which they are asked; the next one only where the one before has no answer."""
ASKED = {str(engine): name for engine, name in ENGINES.items()} | {"onnxruntime": "ONNX Runtime"}
"""Everybody who can be asked about a user's own file."""
ALLOWED: dict[Engine, int] = {"litert_optimised": LITERT_OPTIMISED.lsb}
BATCHED_SPACES = "TensorFlow Lite Micro is known to answer wrongly on dilation by SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND"
_MOST_LETTERS = 300


class _Refused(Exception):
    """An engine can not run the file; the text says why."""


def prove_source(content: bytes, graph: Graph, vectors: Vectors) -> SourceProof:
    """Hold the file's own answers against the reference's (`vectors`, of `graph`, which was imported from the file and
    optimised). GraphError, naming the first layer that differs, when they are not equal, or when nobody can run the file."""
    imported = import_tflite(content, graph.name)
    int8_inputs, outputs = _in_file_order(imported, graph, vectors)
    given = tuple(_as_file_takes(edge, x) for edge, x in zip(imported.inputs, int8_inputs, strict=True))
    reached = tuple(edge.to_int8(x) for edge, x in zip(imported.inputs, given, strict=True))
    if any(not np.array_equal(x, y) for x, y in zip(reached, int8_inputs, strict=True)):  # not every int8 has its byte
        int8_inputs, outputs = reached, imported.graph.run(*reached)
    note = ""
    for engine in ENGINES:
        if engine == "tflm" and not tflm_available():
            note = f"{ENGINES[engine]} can not run the file: its wheel is for Linux x86-64"
            continue
        try:
            distance = _distance(imported.outputs, outputs, _run(engine, content, given))
        except _Refused as why:
            note = "; ".join(filter(None, (note, f"{ENGINES[engine]} can not run the file: {why}")))
            continue
        if distance.max() <= ALLOWED.get(engine, 0):
            return SourceProof(engine, len(vectors), int((distance == 0).sum()), int(distance.max()), note)
        if engine != "tflm" or "SPACE_TO_BATCH_ND" not in imported.builtins:
            raise _difference(imported, content, engine, given, int8_inputs)
        note = BATCHED_SPACES
    raise GraphError(f"{note}. So nobody can say what {graph.name!r} computes; convert the model anew.")


def _in_file_order(imported: Imported, graph: Graph, vectors: Vectors) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The vectors' int8 inputs and outputs in the file's order of inputs and outputs: Keras has its own."""

    def ordered(theirs: tuple[str, ...], ours: tuple[str, ...], values: tuple[Array, ...]) -> tuple[Array, ...]:
        by_name = dict(zip(ours, values, strict=True))
        return tuple(by_name[name] for name in theirs) if set(theirs) == set(ours) else values

    return (
        ordered(imported.graph.inputs, graph.inputs, vectors.int8_inputs),
        ordered(imported.graph.outputs, graph.outputs, vectors.outputs),
    )


def _as_file_takes(edge: Edge, int8: Array) -> Array:
    """Values of the file's own type that come nearest to these int8 values once the file has converted them."""
    if edge.dtype == "int8":
        return int8
    if edge.dtype == "float32":
        return edge.from_int8(int8)
    table = edge.table().astype(np.int16)
    nearest = np.abs(table[None, :] - np.arange(-128, 128)[:, None]).argmin(axis=1).astype(np.uint8)
    return np.asarray(nearest[int8.astype(np.int16) + 128])


def _distance(edges: tuple[Edge, ...], expected: tuple[Array, ...], got: Mapping[int, Array]) -> Array:
    """(n,): by how many steps of its own type an output, by its number in the file, is away from the reference at most."""
    steps = [_steps(edge, wanted, got[i]) for i, (edge, wanted) in enumerate(zip(edges, expected, strict=True))]
    return np.asarray(np.max(steps, axis=0))


def _steps(edge: Edge, wanted: Array, y: Array) -> Array:
    y = y.reshape(wanted.shape).astype(np.float64)
    if edge.dtype == "float32":  # which multiples of the scale they are
        y = np.rint(y / edge.quant.scale[0]) + edge.quant.zero_point
    else:
        wanted = edge.from_int8(wanted)
    return np.asarray(np.abs(y - wanted).reshape(len(y), -1).max(axis=1))


def _difference(
    imported: Imported, content: bytes, engine: Engine, given: tuple[Array, ...], int8_inputs: tuple[Array, ...]
) -> GraphError:
    """What to say of a file that computes something else than was read from it."""
    found: Difference | None = None
    try:
        layers = _run(engine, content, tuple(x[:8] for x in given), layers=True)
        named = {imported.names[i]: y for i, y in layers.items() if i in imported.names}
        found = first_difference(imported.graph, tuple(x[:8] for x in int8_inputs), named, ALLOWED.get(engine, 0))
    except _Refused:
        pass  # it runs, but not layer by layer
    where = f"{found}" if found else "its layers are equal as far as they can be traced, its outputs are not"
    return GraphError(
        f"{imported.graph.name!r} computes something else in {ENGINES[engine]} than was read from the file: {where}. "
        "Firmware of it would not be exact, so none is made. Convert the model anew; if the file is sound, report a bug."
    )


def _run(engine: Engine, content: bytes, inputs: tuple[Array, ...], *, layers: bool = False) -> dict[int, Array]:
    """The file's outputs, each (n, *shape), by number, or with `layers` what its operators write, by tensor index."""
    with tempfile.TemporaryDirectory(prefix="source_") as work:
        folder = Path(work)
        (folder / MODEL).write_bytes(content)
        np.savez(folder / INPUTS, allow_pickle=False, **{str(i): x for i, x in enumerate(inputs)})
        command = [sys.executable, "-m", "pipeline.proof.tflite_worker", engine, work, *(["layers"] if layers else [])]
        try:
            done = run_group(command, own_environment(), TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise _Refused(f"it took longer than {TIMEOUT_S} s on {len(inputs[0])} examples and was stopped") from None
        said = _lines(done.stderr)
        if done.returncode == REFUSED or done.returncode < 0:  # an interpreter that aborts is ended by a signal
            raise _Refused(_reason(done.returncode, said[0]))
        if done.returncode:  # a traceback's last line names the exception
            raise BuildError(f"the child process that runs the model file failed: {said[-1] or 'it said nothing'}.")
        with np.load(folder / OUTPUTS, allow_pickle=False) as found:
            values = {int(name): found[name] for name in found.files}
    return values


def _lines(stderr: bytes) -> list[str]:
    """What a child process said, without empty lines, but at least one."""
    lines = (line.strip().rstrip(".")[:_MOST_LETTERS] for line in stderr.decode(errors="replace").splitlines())
    return list(filter(None, lines)) or [""]


def _reason(code: int, said: str) -> str:
    """The interpreter's own first words, which say more than what our code made of them, and how it ended."""
    ended = f"it ended the process with signal {-code}" if code < 0 else ""
    return ", ".join(filter(None, (said, ended))) or "it said nothing"
