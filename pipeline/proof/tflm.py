"""TensorFlow Lite Micro's reference kernels on this machine: the oracle that everything else must equal byte for byte.

The `tflite-micro` wheel exists for Linux x86-64 only. Elsewhere `tflm_available()` is False and the callers say so.
"""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import BuildError, MismatchError
from pipeline.host.processes import own_environment, run_group
from pipeline.ir import Array, Graph

ARENA_STEP = 16  # TFLM aligns its arena so
PROBE_TIMEOUT_S = 300


def tflm_available() -> bool:
    """Whether this machine can run TFLM (the wheel is installed)."""
    return importlib.util.find_spec("tflite_micro") is not None


def tflm_run(model: bytes, *inputs: Array) -> tuple[Array, ...]:
    """The .tflite file's outputs, each (n, *shape), for n examples of each input, (n, *shape), run one by one."""
    interpreter = _interpreter(model)
    outputs: list[list[Array]] = [[] for _ in range(_output_count(model))]
    for _ in _invocations(interpreter, inputs):
        for i, rows in enumerate(outputs):
            rows.append(np.array(interpreter.get_output(i)))
    return tuple(np.stack(rows) for rows in outputs)


def tflm_layers(model: bytes, *inputs: Array) -> dict[str, Array]:
    """Every activation that an operator of the file writes, by tensor name, each (n, *shape)."""
    subgraph = _parsed(model).Subgraphs(0)
    return {subgraph.Tensors(i).Name().decode(): values for i, values in tflm_tensors(model, *inputs).items()}


def tflm_tensors(model: bytes, *inputs: Array) -> dict[int, Array]:
    """The same by the tensor's index in the file, whose names may be missing or repeated."""
    interpreter = _interpreter(model, preserve=True)
    subgraph = _parsed(model).Subgraphs(0)
    written = [int(i) for k in range(subgraph.OperatorsLength()) for i in subgraph.Operators(k).OutputsAsNumpy()]
    rows: dict[int, list[Array]] = {i: [] for i in written}
    for _ in _invocations(interpreter, inputs):
        for i in written:
            rows[i].append(np.array(interpreter.GetTensor(i, 0)["tensor_data"]))
    return {i: np.stack(values) for i, values in rows.items()}


def smallest_arena(model: bytes) -> int:
    """The fewest bytes of tensor arena, a multiple of 16, with which TFLM runs the file and answers rightly: by bisection,
    since what TFLM reports as used is too little for some models. The 64-bit host needs at least what a 32-bit board needs.
    """
    return _ask_worker(model)


def arena_works(model: bytes, arena_bytes: int) -> bool:
    """Whether TFLM runs the file in so many bytes and answers as it does in plenty."""
    return bool(_ask_worker(model, str(arena_bytes)))


@dataclass(frozen=True, slots=True)
class Difference:
    """The first layer whose values are not the reference's. `at` is the index of its first wrong value, example first."""

    op_index: int
    kind: str
    tensor: str
    at: tuple[int, ...]
    expected: int | float
    got: int | float
    wrong: int  # values that differ, of `values`
    values: int

    def __str__(self) -> str:
        return (
            f"layer {self.op_index} ({self.kind} {self.tensor!r}) is the first to differ: at {list(self.at)} the integer "
            f"reference has {self.expected}, not {self.got}; {self.wrong:,} of {self.values:,} values differ"
        )


def first_difference(
    graph: Graph, inputs: tuple[Array, ...], layers: Mapping[str, Array], allowed: int = 0
) -> Difference | None:
    """Compare the integer reference on int8 `inputs` with `layers` (from `tflm_layers` or `HostC.layers`), in layer order.
    Layers that are not in `layers` are passed over. None when no value is further away than `allowed` steps."""
    found: list[Difference] = []
    position = {name: (i, op.kind) for i, op in enumerate(graph.ops) for name in op.outputs}

    def visit(name: str, reference: Array) -> None:
        if found or name not in layers:
            return
        other = layers[name].reshape(reference.shape)
        wrong = np.argwhere(np.abs(reference.astype(np.float64) - other) > allowed)
        if len(wrong):
            at = tuple(int(k) for k in wrong[0])
            expected, got = reference[at].item(), other[at].item()
            found.append(Difference(*position[name], name, at, expected, got, len(wrong), reference.size))

    graph.trace(*inputs, visit=visit)
    return found[0] if found else None


def require_equal(graph: Graph, who: str, expected: tuple[Array, ...], got: tuple[Array, ...]) -> None:
    """MismatchError, naming output and vector, unless both are equal byte for byte."""
    for name, a, b in zip(graph.outputs, expected, got, strict=True):
        different = np.flatnonzero((a != b.reshape(a.shape)).reshape(len(a), -1).any(axis=1))
        if len(different):
            raise MismatchError(
                f"{who} and the integer reference of {graph.name!r} differ on {len(different)} of {len(a)} vectors, "
                f"first on vector {different[0]}, output {name!r}."
            )


def _ask_worker(model: bytes, *arguments: str) -> int:
    """Too small an arena can crash the interpreter, so it is tried in children of another process, which has no threads."""
    _require()
    command = [sys.executable, "-m", "pipeline.proof.tflm", *arguments]
    try:
        done = run_group(command, own_environment(), PROBE_TIMEOUT_S, model)
    except subprocess.TimeoutExpired:
        raise BuildError(f"TFLM took longer than {PROBE_TIMEOUT_S} s to find the arena size and was stopped.") from None
    if done.returncode or not done.stdout.strip().isdigit():
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise BuildError(f"the arena size of the .tflite file could not be found: {reason}")
    return int(done.stdout)


def _require() -> None:
    if not tflm_available():
        raise BuildError(
            "TFLM is not on this machine: its wheel, `pip install tflite-micro`, exists for Linux x86-64 only. The integer "
            "reference and the generated C are compared without it."
        )


def _parsed(model: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.Model.GetRootAs(model, 0)


def _output_count(model: bytes) -> int:
    return int(_parsed(model).Subgraphs(0).OutputsLength())


def _ample_arena(model: bytes) -> int:
    """More than any model of this size needs: all activations at once, twice, and the interpreter's own structures."""
    subgraph = _parsed(model).Subgraphs(0)
    elements = sum(
        int(np.prod(subgraph.Tensors(i).ShapeAsNumpy(), initial=1, dtype=np.int64)) for i in range(subgraph.TensorsLength())
    )
    return (1 << 20) + 10 * len(model) + 8 * elements


def _interpreter(model: bytes, arena_bytes: int | None = None, preserve: bool = False) -> Any:
    _require()
    from tflite_micro.python.tflite_micro import runtime

    config = runtime.InterpreterConfig
    try:
        return runtime.Interpreter.from_bytes(
            model,
            arena_size=arena_bytes or _ample_arena(model),
            intrepreter_config=config.kPreserveAllTensors if preserve else config.kAllocationRecording,
        )
    except RuntimeError as e:
        raise BuildError(f"TFLM refuses the .tflite file: {e}; its own message is on stderr.") from None


def _invocations(interpreter: Any, inputs: tuple[Array, ...]) -> Iterator[int]:
    for k in range(len(inputs[0])):
        for i, x in enumerate(inputs):
            interpreter.set_input(np.ascontiguousarray(x[k]), i)
        interpreter.invoke()
        yield k


def _fixed_inputs(model: bytes) -> tuple[Array, ...]:
    """One example, random but always the same."""
    rng, subgraph, interpreter = np.random.default_rng(0), _parsed(model).Subgraphs(0), _interpreter(model)
    details = [interpreter.get_input_details(i) for i in range(subgraph.InputsLength())]
    sizes = [(tuple(d["shape"]), np.dtype(d["dtype"])) for d in details]
    return tuple(
        rng.standard_normal((1, *shape)).astype(dtype)
        if dtype.kind == "f"
        else rng.integers(0, 256, (1, math.prod(shape) * dtype.itemsize), np.uint8).view(dtype).reshape(1, *shape)
        for shape, dtype in sizes
    )


def _worker(model: bytes, arguments: list[str]) -> int:
    """In the worker process: whether the arena given works (1 or 0), or without arguments the smallest that does."""
    inputs = _fixed_inputs(model)
    expected = [y.tobytes() for y in tflm_run(model, *inputs)]

    def works(arena_bytes: int) -> bool:
        child = os.fork()
        if child == 0:
            os.close(2)  # the allocator's complaints are the expected answer here
            try:
                small = _interpreter(model, arena_bytes)
                for _ in _invocations(small, inputs):
                    answer = [small.get_output(i).tobytes() for i in range(len(expected))]
                os._exit(0 if answer == expected else 1)
            except BaseException:
                os._exit(1)
        return os.waitpid(child, 0)[1] == 0

    if arguments:
        return int(works(int(arguments[0])))
    low, high = 0, -(-_ample_arena(model) // ARENA_STEP)
    while high - low > 1:  # `low` fails, `high` works, in steps of 16 bytes
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle * ARENA_STEP) else (middle, high)
    return high * ARENA_STEP


if __name__ == "__main__":
    print(_worker(sys.stdin.buffer.read(), sys.argv[1:]))
