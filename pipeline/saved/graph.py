"""The int8 graph as JSON and arrays, and back, equal in every bit of its `sha256`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.npz import read_npz
from pipeline.errors import GraphError, RecipeError
from pipeline.ir import Array, DType, Graph, Quant, Tensor
from pipeline.ops import all_ops
from pipeline.saved.index import MAX_ARRAY_BYTES, NotSavedError, read_json
from pipeline.strict import parse

GRAPH, CONSTANTS = "graph.json", "constants.npz"


@dataclass(frozen=True, slots=True)
class _Described:
    """A tensor; `data` names its array, None for an activation."""

    shape: tuple[int, ...]
    dtype: DType
    quant: Quant | None = None
    data: str | None = None


@dataclass(frozen=True, slots=True)
class _Stored:
    name: str
    sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ops: tuple[dict[str, Any], ...]
    tensors: dict[str, _Described]


def save_graph(graph: Graph, folder: Path) -> tuple[str, str]:
    """Write it; the names of the two files. NotSavedError when reading them gives another graph."""
    arrays: dict[str, Array] = {}
    tensors: dict[str, Any] = {}
    for name, t in graph.tensors.items():
        tensors[name] = {"shape": t.shape, "dtype": t.dtype}
        if t.quant is not None:
            tensors[name]["quant"] = _without_none(t.quant)
        if t.data is not None:
            tensors[name]["data"] = f"t{len(arrays)}"
            arrays[f"t{len(arrays)}"] = t.data
    stored = {
        "name": graph.name,
        "sha256": graph.sha256(),
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "ops": [{"op": op.kind, **_without_none(op)} for op in graph.ops],
        "tensors": tensors,
    }
    try:
        text = json.dumps(stored, indent=1, allow_nan=False)
    except (TypeError, ValueError) as e:
        raise NotSavedError(f"the graph {graph.name!r} has an attribute without a JSON form ({e})") from None
    (folder / GRAPH).write_text(text + "\n", encoding="utf-8")
    np.savez(folder / CONSTANTS, allow_pickle=False, **arrays)
    return GRAPH, CONSTANTS


def load_graph(folder: Path) -> Graph:
    """RecipeError when the files hold no graph, or another one than they say."""
    path = folder / GRAPH
    stored = parse(_Stored, read_json(path), f"{path}: ")
    arrays = read_npz(folder / CONSTANTS, optional=None, max_bytes=MAX_ARRAY_BYTES, hint="Run that stage again.")
    known = all_ops()
    try:
        ops = []
        for i, table in enumerate(stored.ops):
            cls = known[table["op"]]
            ops.append(parse(cls, {k: v for k, v in table.items() if k != "op"}, f"{path}: ops[{i}]"))
        tensors = {
            n: Tensor(t.shape, t.dtype, t.quant, arrays[t.data] if t.data else None) for n, t in stored.tensors.items()
        }
        graph = Graph(stored.name, tensors, tuple(ops), stored.inputs, stored.outputs).checked()
    except RecipeError:
        raise
    except (GraphError, KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as e:
        raise RecipeError(f"{path} holds no int8 graph that this version knows: {e}. Run that stage again.") from None
    if graph.sha256() != stored.sha256:
        raise RecipeError(f"{path} holds another graph than the one whose sha256 it names. Run that stage again.")
    return graph


def _without_none(part: Any) -> Mapping[str, Any]:
    """Its fields; None is what is left out in JSON."""
    return {f.name: value for f in fields(part) if (value := getattr(part, f.name)) is not None}
