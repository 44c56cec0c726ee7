"""Mutated .tflite files that still import must compute what TFLM computes from the very same file.

    python -m tests.importers.against_tflm 3000 --seed 1 --keep DIR

prints what happened as JSON, and each file that differs (`--keep` writes it). TFLM runs in a child for each file: it trusts
what it is given, and dies of some.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import select
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import OpResolverType

from pipeline.codegen.to_tflite import to_tflite
from pipeline.errors import BuildError, GraphError
from pipeline.importers.imported import Imported
from pipeline.importers.tflite.importer import import_tflite
from pipeline.importers.tflite.reader import read_tflite
from pipeline.ir import Array
from pipeline.proof.tflm import tflm_run
from tests.importers.fuzz import BYTES, RUNNABLE_BYTES, RUNNABLE_MACS, Mutation, Random, edit_tflite_fields
from tests.importers.test_tflite import INT8_FILES, as_the_file, litert, random_inputs
from tests.importers.test_tflite_operators import CASES
from tests.importers.tflite_edit import edited, file

SECONDS = 20  # for one small file in TFLM
EXAMPLES = 3
INT32 = 2  # schema.TensorType


def edit_constants(content: bytes, rng: Random) -> bytes:
    """One to three values of the small integer constants changed: sizes, axes, widths, shapes."""

    def edit(model: Any) -> None:
        indexes = {t.buffer for t in model.subgraphs[0].tensors if t.type == INT32}
        found = [b for b in (model.buffers[i] for i in sorted(indexes)) if b.data is not None and 4 <= len(b.data) <= 64]
        for _ in range(int(rng.integers(1, 4)) if found else 0):
            buffer = found[int(rng.integers(len(found)))]
            values = np.frombuffer(bytes(buffer.data), "<i4").copy()
            values[rng.integers(len(values))] += int(rng.choice([-3, -2, -1, 1, 2, 4]))
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)

    return edited(content, edit)


FIELDS: tuple[Mutation, ...] = (edit_tflite_fields, edit_constants)
MUTATIONS: tuple[Mutation, ...] = (*FIELDS, *FIELDS, *FIELDS, *(m for m in BYTES if m.__name__ != "truncate"))


def seeds() -> dict[str, bytes]:
    """What TFLM can run: what converters wrote, and every case of every operator."""
    return {name: file(name) for name in INT8_FILES} | {name: to_tflite(graph) for name, graph in CASES.items()}


def outcome(content: bytes) -> tuple[str, str]:
    """("equal", "differs", "refused"..., details)."""
    try:
        model = import_tflite(content)
    except GraphError as e:
        return "refused", str(e)
    if not _small(model):
        return "too large to try", ""
    inputs = random_inputs(model, n=EXAMPLES)
    expected = _in_child(tflm_run, content, inputs)
    if isinstance(expected, str):
        return f"TFLM {expected}", ""
    ours = as_the_file(model, *inputs)
    if _equal(ours, expected):
        return "equal", ""
    if _depth_multiplier_is_0(content) and _equal(ours, _in_child(_litert_reference, content, inputs)):
        return "equal to LiteRT", ""  # which goes by the shapes; TFLM takes the 0 for what it says
    return "differs", f"{int(sum((y != want).sum() for y, want in zip(ours, expected, strict=True)))} values"


def _litert_reference(content: bytes, x: Array) -> tuple[Array, ...]:
    return (litert(content, x, OpResolverType.BUILTIN_REF),)


def _equal(ours: tuple[Array, ...], theirs: tuple[Array, ...] | str) -> bool:
    return not isinstance(theirs, str) and all(np.array_equal(y, want) for y, want in zip(ours, theirs, strict=True))


def _depth_multiplier_is_0(content: bytes) -> bool:
    convolutions = [op for op in read_tflite(content, "model").operators if op.builtin == "DEPTHWISE_CONV_2D"]
    return any(op.options("DepthwiseConv2DOptions").integer("DepthMultiplier") == 0 for op in convolutions)


def _small(model: Imported) -> bool:
    largest = max(t.nbytes for t in model.graph.tensors.values())
    return largest <= RUNNABLE_BYTES and model.graph.macs() <= RUNNABLE_MACS


def _in_child(run: Callable[..., tuple[Array, ...]], content: bytes, inputs: tuple[Array, ...]) -> tuple[Array, ...] | str:
    """The interpreter's outputs, or what became of it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            try:
                answer: Any = run(content, *inputs)
            except (BuildError, RuntimeError, ValueError) as e:
                answer = f"refuses: {type(e).__name__}"
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        if not select.select([pipe], [], [], SECONDS)[0]:
            os.kill(child, 9)
        sent = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(sent) if sent else "crashes"


def compare(count: int, seed: int, keep: Path | None = None) -> tuple[Counter[str], list[str]]:
    """How `count` mutated files end, and a line for each that differs."""
    rng, files = np.random.default_rng(seed), seeds()
    names = sorted(files)
    outcomes: Counter[str] = Counter()
    different = []
    for i in range(count):
        mutation, name = MUTATIONS[i % len(MUTATIONS)], names[int(rng.integers(len(names)))]
        content = mutation(files[name], rng)
        what, details = outcome(content)
        outcomes[what] += 1
        if what == "differs":
            different.append(f"file {i} ({mutation.__name__} of {name}): {details}")
        if keep and what not in ("refused", "equal"):
            keep.mkdir(exist_ok=True)
            (keep / f"{what.split(':')[0].replace(' ', '_')}_{seed}_{i}_{name}.tflite").write_bytes(content)
    return outcomes, different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    np.seterr(all="ignore")
    outcomes, different = compare(arguments.count, arguments.seed, arguments.keep)
    print(*different, sep="\n", file=sys.stderr)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
