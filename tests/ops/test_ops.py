"""Each operator's case table, run four ways that must agree byte for byte: the integer reference, TFLM's kernels, the
generated C on this machine under sanitizers, and the same C on an emulated Cortex-M4."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from board import run_on_board
from case import Case, merged, vectors
from example_target import host_c

from pipeline.codegen.to_tflite import to_tflite
from pipeline.errors import GraphError
from pipeline.ir import Array, Graph
from pipeline.lowering.lower import Layer, Lowered, lowered_with
from pipeline.ops import all_ops
from pipeline.proof.tflm import tflm_available, tflm_run

OPS = sorted(all_ops())


@cache
def cases_of(op: str) -> dict[str, Case]:
    if not (Path(__file__).parent / "cases" / f"{op}.py").is_file():
        return {}
    return dict(importlib.import_module(f"cases.{op}").CASES)


def variants_of(op: str) -> set[str]:
    """The names of an operator's variants, where there is a choice; "" where there is none."""
    choices = (row.graph.ops[-1].variants(row.graph) for row in cases_of(op).values())
    return {v.name for variants in choices if len(variants) > 1 for v in variants} or {""}


WAYS = [(op, variant) for op in OPS for variant in sorted(variants_of(op))]
ROWS = [pytest.param(case, id=f"{op}-{name}") for op in OPS for name, case in cases_of(op).items()]


@pytest.mark.parametrize("op", OPS)
def test_has_cases(op: str) -> None:
    cases = cases_of(op)
    assert cases, f"pipeline/ops/{op}.py has no cases: write tests/ops/cases/{op}.py"
    assert all(type(row.graph.ops[-1]) is all_ops()[op] for row in cases.values())


@pytest.mark.parametrize("case", ROWS)
def test_reference_equals_tflm(case: Case) -> None:
    graph = case.graph.checked()
    if case.not_in_tflite:
        with pytest.raises(GraphError, match=case.not_in_tflite):
            to_tflite(graph)
        return
    if not tflm_available():
        pytest.skip("the tflite-micro wheel exists for Linux x86-64 only")
    inputs = tuple(np.delete(x, case.tflm_skips, axis=0) for x in vectors(graph))
    for expected, got in zip(tflm_run(to_tflite(graph), *inputs), graph.run(*inputs), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got.reshape(len(got), -1), expected.reshape(len(expected), -1))


@pytest.mark.parametrize("op", OPS)
def test_litert_loads_the_files(op: str) -> None:
    """Other readers than TFLM: shapes, versions and options hold together. LiteRT's own kernels are not the oracle."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    for name, row in cases_of(op).items():
        if not row.not_in_tflite:
            interpreter = Interpreter(
                model_content=to_tflite(row.graph), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
            )
            interpreter.allocate_tensors()
            shapes = [tuple(d["shape"]) for d in interpreter.get_output_details()]
            assert shapes == [row.graph[n].shape for n in row.graph.outputs], name


@pytest.mark.parametrize("op", OPS)
def test_batches_are_independent(op: str) -> None:
    for name, row in cases_of(op).items():
        inputs = vectors(row.graph)
        whole, single = row.graph.run(*inputs), row.graph.run(*inputs, batch=1)
        assert all(np.array_equal(a, b) for a, b in zip(whole, single, strict=True)), name


@pytest.mark.parametrize(("op", "variant"), WAYS)
def test_host_c_equals_reference(op: str, variant: str) -> None:
    graph, inputs, expected = _side_by_side(op)
    with host_c(_computed_by(variant, graph)) as host:
        _assert_equal(graph.outputs, expected, host.run(*inputs))


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.parametrize(("op", "variant"), WAYS)
def test_board_equals_reference(op: str, variant: str, tmp_path: Path) -> None:
    graph, inputs, expected = _side_by_side(op)
    _assert_equal(graph.outputs, expected, run_on_board(_computed_by(variant, graph), inputs, tmp_path))


def _computed_by(name: str, graph: Graph) -> Lowered:
    """Each layer by the variant of this name where it is possible, else by the general one."""
    layers, found = [], name == ""
    for op in graph.ops:
        variants = op.variants(graph)
        named = next((v for v in variants if v.name == name and v.refused is None), None)
        layers.append(Layer(op, (), named or variants[0]))
        found |= named is not None
    assert found, f"no case is possible with {name}"
    return lowered_with(graph, layers)


@cache
def _side_by_side(op: str):
    graph = merged(cases_of(op))
    inputs = tuple(x for row in cases_of(op).values() for x in vectors(row.graph))
    return graph, inputs, graph.run(*inputs)


def _assert_equal(names: tuple[str, ...], expected: tuple[Array, ...], got: tuple[Array, ...]) -> None:
    wrong = {n: int((a != b).sum()) for n, a, b in zip(names, expected, got, strict=True) if a.tobytes() != b.tobytes()}
    assert not wrong, f"these outputs differ from the reference (values): {wrong}"


def test_a_wrong_answer_is_found() -> None:
    """The comparison itself: one changed weight must not go unnoticed."""
    graph, inputs, expected = _side_by_side("conv2d")
    name = "3x3_valid/w"
    broken = graph[name].data.copy()
    broken.reshape(-1)[0] ^= 64
    changed = replace(graph, tensors={**graph.tensors, name: replace(graph[name], data=broken)})
    with pytest.raises(AssertionError, match="3x3_valid/y"):
        _assert_equal(graph.outputs, expected, changed.run(*inputs))
