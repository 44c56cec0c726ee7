"""No plan may let a value be overwritten before its last reader: shown by running every plan on a memory of marked bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from example_graphs import small_cnn, two_inputs
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import GraphError
from pipeline.ir import Array, Graph, Op, Quant, Storage, Tensor, TfliteNode
from pipeline.kernel import Kernel, Shift
from pipeline.lowering.arena import ALIGNMENT, Plan
from pipeline.lowering.arena import plan as plan_arena


@dataclass(frozen=True, kw_only=True)
class Node(Op):
    """An operator that only takes up memory."""

    kept: Storage = "new"
    scratch: int = 0
    over: tuple[tuple[int, Shift], ...] = ()

    def check(self, graph: Graph) -> None:
        return

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        raise NotImplementedError

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        return (Kernel("node", {}, self.inputs, self.outputs, self.scratch),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        raise NotImplementedError

    def storage(self, graph: Graph) -> Storage:
        return self.kept


def plan(graph: Graph) -> Plan:
    return plan_arena(graph, [replace(op.general(graph), over=dict(getattr(op, "over", ()))) for op in graph.ops])


def allowed(op: Op, graph: Graph, k: int) -> Shift | None:
    """How far behind its input k an output may start; None: they lie apart."""
    in_place = op.storage(graph) == "in_place" and k == 0 and graph[op.output].nbytes <= graph[op.inputs[0]].nbytes
    over: dict[int, Shift] = dict(getattr(op, "over", ()))
    return over.get(k, (0, 0) if in_place else None)


def tensor(nbytes: int) -> Tensor:
    return Tensor((nbytes,), "int8", Quant((1.0,)))


def graph_of(sizes: dict[str, int], ops: list[Node], inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Graph:
    return Graph("nodes", {n: tensor(s) for n, s in sizes.items()}, tuple(ops), inputs, outputs).checked()


def simulate(graph: Graph, arena: Plan) -> None:
    """Every operator finds its inputs' bytes as their writer left them; an alias names the same value as its source."""
    memory = np.full(arena.arena_bytes, -1, np.int64)
    value = {name: i for i, name in enumerate(graph.tensors)}

    def region(name: str) -> slice:
        slot = arena.slots[name]
        assert slot.offset % ALIGNMENT == 0
        assert slot.offset + slot.nbytes <= arena.arena_bytes
        return slice(slot.offset, slot.offset + slot.nbytes)

    def intact(name: str, when: str) -> None:
        assert (memory[region(name)] == value[name]).all(), f"{name} is overwritten {when}"

    for name in graph.inputs:
        memory[region(name)] = value[name]
    for i, op in enumerate(graph.ops):
        if i in arena.scratch:
            slot = arena.scratch[i]
            memory[slot.offset : slot.offset + slot.nbytes] = -2
        activations = [n for n in op.inputs if graph[n].data is None]
        for name in activations:
            intact(name, f"before {op.output} reads it")
        if op.storage(graph) == "alias":
            value[op.output] = value[op.inputs[0]]
            assert region(op.output) == region(op.inputs[0])
        else:
            for name in op.outputs:
                for k, other in enumerate(op.inputs):
                    if other not in activations:
                        continue
                    a, b = region(name), region(other)
                    lowest, highest = (name == op.output and allowed(op, graph, k)) or (b.stop - b.start, None)
                    behind = a.start - b.start
                    shared = (lowest is None or behind >= lowest) and (highest is None or behind <= highest)
                    assert shared or a.stop <= b.start or b.stop <= a.start, f"{name} overwrites {other}, which is in use"
                memory[region(name)] = value[name]
        if i in arena.scratch:
            slot = arena.scratch[i]
            memory[slot.offset : slot.offset + slot.nbytes] = -2
        for name in op.outputs:
            intact(name, "by its own operator's scratch")
    for name in graph.outputs:
        intact(name, "before the end")


shifts = st.sampled_from([(None, 0), (None, -40), (-64, None), (None, None), (0, 0)])


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 12))
    sizes = {f"in{i}": draw(st.integers(1, 300)) for i in range(draw(st.integers(1, 3)))}
    inputs = tuple(sizes)
    ops: list[Node] = []
    for i in range(count):
        sources = draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=3))
        kept = draw(st.sampled_from(["new", "in_place", "alias"]))
        outputs = [f"t{i}"] + ([f"t{i}b"] if kept == "new" and draw(st.booleans()) else [])
        for name in outputs:
            sizes[name] = sizes[sources[0]] if kept == "alias" else draw(st.integers(1, 300))
        over = draw(st.lists(st.tuples(st.integers(0, len(sources) - 1), shifts), max_size=2)) if kept == "new" else []
        scratch = draw(st.sampled_from([0, 0, 70]))
        ops.append(Node(inputs=tuple(sources), outputs=tuple(outputs), kept=kept, scratch=scratch, over=tuple(over)))
    outputs = tuple(draw(st.lists(st.sampled_from(sorted(set(sizes))), min_size=1, max_size=3, unique=True)))
    return graph_of(sizes, ops, inputs, outputs)


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_nothing_is_overwritten_while_it_is_needed(graph: Graph) -> None:
    arena = plan(graph)
    simulate(graph, arena)
    assert arena.arena_bytes >= max(arena.live_bytes)
    for i, op in enumerate(graph.ops):
        own = sum(-(-graph[n].nbytes // ALIGNMENT) * ALIGNMENT for n in op.outputs)
        assert arena.live_bytes[i] >= (own if op.storage(graph) == "new" else graph[op.output].nbytes)


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    sizes = {"x": 64, "a": 1000, "b": 500, "c": 200, "d": 16}
    names = list(sizes)
    ops = [Node(inputs=(i,), outputs=(o,)) for i, o in pairwise(names)]
    arena = plan(graph_of(sizes, ops, ("x",), ("d",)))
    assert arena.live_bytes == (64 + 1008, 1008 + 512, 512 + 208, 208 + 16)
    assert arena.arena_bytes == 1008 + 512
    assert arena.peak_ops == ("b",)
    assert arena.live(1) == ("a", "b")


def test_in_place_takes_no_memory_of_its_own() -> None:
    sizes = {"x": 160, "y": 160}
    arena = plan(graph_of(sizes, [Node(inputs=("x",), outputs=("y",), kept="in_place")], ("x",), ("y",)))
    assert arena.arena_bytes == 160
    assert arena.slots["x"].offset == arena.slots["y"].offset


@pytest.mark.parametrize(
    ("ops", "outputs"),
    [
        pytest.param([("x", "y"), ("x", "z")], ("y", "z"), id="a later operator still reads it"),
        pytest.param([("x", "y")], ("x", "y"), id="it is an output of the graph"),
        pytest.param([("x", "y", "x")], ("y",), id="another argument is the same memory"),
    ],
)
def test_in_place_only_over_what_nobody_needs(ops: list[tuple[str, ...]], outputs: tuple[str, ...]) -> None:
    nodes = [Node(inputs=(source, *rest), outputs=(out,), kept="in_place") for source, out, *rest in ops]
    arena = plan(graph_of({"x": 160, "y": 160, "z": 160}, nodes, ("x",), outputs))
    assert arena.slots["x"].offset != arena.slots["y"].offset


def test_an_alias_keeps_its_source_alive() -> None:
    sizes = {"x": 160, "seen": 160, "a": 160, "y": 160}
    ops = [Node(inputs=("x",), outputs=("seen",), kept="alias"), Node(inputs=("x",), outputs=("a",))]
    ops += [Node(inputs=("a", "seen"), outputs=("y",))]
    arena = plan(graph_of(sizes, ops, ("x",), ("y",)))
    assert arena.slots["x"].offset == arena.slots["seen"].offset
    assert arena.arena_bytes == 3 * 160


def test_an_alias_of_another_size_is_refused() -> None:
    with pytest.raises(GraphError, match="node 'y': can not share the bytes of 'x'"):
        plan(graph_of({"x": 160, "y": 80}, [Node(inputs=("x",), outputs=("y",), kept="alias")], ("x",), ("y",)))


def test_scratch_is_there_only_while_its_operator_runs() -> None:
    sizes = {"x": 16, "a": 160, "y": 16}
    ops = [Node(inputs=("x",), outputs=("a",)), Node(inputs=("a",), outputs=("y",), scratch=100)]
    arena = plan(graph_of(sizes, ops, ("x",), ("y",)))
    assert arena.live_bytes == (16 + 160, 160 + 16 + 112)
    assert arena.arena_bytes == 288
    assert set(arena.scratch) == {1}


def test_real_graphs() -> None:
    for graph in (small_cnn(), two_inputs()):
        simulate(graph, plan(graph))
    arena = plan(small_cnn())
    assert arena.arena_bytes == 3 * 512  # stem, dw and pw at once; the sum is computed in place over the stem
    assert arena.slots["sum"].offset == arena.slots["stem"].offset
    assert arena.peak_ops == ("pw",)


def test_an_input_that_nobody_reads_takes_memory_only_until_the_first_operator() -> None:
    sizes = {"x": 160, "unread": 320, "y": 160}
    arena = plan(graph_of(sizes, [Node(inputs=("x",), outputs=("y",))], ("x", "unread"), ("y",)))
    assert arena.slots["unread"].last == -1
    assert arena.live_bytes == (320,)
    assert arena.arena_bytes == 480  # both inputs are written at once


def over(shift: Shift, sizes: dict[str, int], *, reads: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ("y",)) -> Plan:
    """The plan of one node whose output may lie over its first input."""
    return plan(graph_of(sizes, [Node(inputs=reads, outputs=("y",), over=((0, shift),))], ("x",), outputs))


def test_an_output_that_goes_before_its_input_starts_as_far_before_it_as_it_must() -> None:
    arena = over((None, -32), {"x": 160, "y": 96})
    assert arena.slots["x"].offset - arena.slots["y"].offset == 32
    assert arena.arena_bytes == arena.live_bytes[0] == 32 + 160


def test_an_output_that_comes_from_behind_may_be_larger_than_its_input() -> None:
    arena = over((160 - 320, None), {"x": 160, "y": 320})
    assert arena.arena_bytes == 320
    assert arena.slots["y"].offset == 0


def test_where_anything_goes_the_larger_one_counts() -> None:
    assert over((None, None), {"x": 160, "y": 320}).arena_bytes == 320
    assert over((None, None), {"x": 320, "y": 160}).arena_bytes == 320


def test_an_output_lies_apart_from_an_input_that_is_read_later() -> None:
    assert over((None, 0), {"x": 160, "y": 160}, outputs=("y", "x")).arena_bytes == 320
    assert over((None, 0), {"x": 160, "y": 160}, reads=("x", "x")).arena_bytes == 320
