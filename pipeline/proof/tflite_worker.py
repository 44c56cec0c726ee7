"""Runs a .tflite file in a process of its own: `python -m pipeline.proof.tflite_worker ENGINE FOLDER [layers]`.

FOLDER holds the file and its inputs; what it answers is written there. A file that the interpreter does not survive takes
only this process with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import BuildError
from pipeline.ir import Array

MODEL, INPUTS, OUTPUTS = "model.tflite", "inputs.npz", "outputs.npz"
REFUSED = 3
"""The exit code for a file that the interpreter will not run. Anything else that goes wrong here is a fault of ours."""


def by_tflm(model: bytes, inputs: list[Array], layers: bool) -> dict[int, Array]:
    from pipeline.proof import tflm as oracle

    if layers:
        return oracle.tflm_tensors(model, *inputs)
    return dict(enumerate(oracle.tflm_run(model, *inputs)))


def by_litert(model: bytes, inputs: list[Array], layers: bool, optimised: bool) -> dict[int, Array]:
    """One example after the other."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.interpreter import OpResolverType as kernels

    interpreter: Any = Interpreter(
        model_content=model,
        experimental_op_resolver_type=kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES if optimised else kernels.BUILTIN_REF,
        experimental_preserve_all_tensors=layers,
    )
    interpreter.allocate_tensors()
    takes, gives = interpreter.get_input_details(), interpreter.get_output_details()
    if layers:
        rows: dict[int, list[Array]] = {int(i): [] for op in interpreter._get_ops_details() for i in op["outputs"]}
        written = list(rows)
    else:
        rows, written = {i: [] for i in range(len(gives))}, [int(y["index"]) for y in gives]
    for k in range(len(inputs[0])):
        for detail, x in zip(takes, inputs, strict=True):
            interpreter.set_tensor(detail["index"], x[k].reshape(detail["shape"]))
        interpreter.invoke()
        for place, i in zip(rows, written, strict=True):
            rows[place].append(np.array(interpreter.get_tensor(i)))
    return {place: np.stack(values) for place, values in rows.items()}


def main(engine: str, folder: Path, layers: bool) -> None:
    with np.load(folder / INPUTS, allow_pickle=False) as given:
        inputs = [given[str(i)] for i in range(len(given.files))]
    model = (folder / MODEL).read_bytes()
    if engine == "tflm":
        answers = by_tflm(model, inputs, layers)
    else:
        answers = by_litert(model, inputs, layers, optimised=engine == "litert_optimised")
    np.savez(folder / OUTPUTS, allow_pickle=False, **{str(i): y for i, y in answers.items()})


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), len(sys.argv) > 3)
    except (BuildError, RuntimeError, ValueError) as e:  # what oracle and LiteRT raise when they can not run a file
        print(str(e).partition("\n")[0], file=sys.stderr)
        sys.exit(REFUSED)
