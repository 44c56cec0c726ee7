"""The int8 graph: what it refuses, and how it runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import GraphError
from pipeline.ir import Graph, Op, Quant, Tensor
from pipeline.ops.add import Add
from pipeline.ops.relu import Relu
from pipeline.ops.reshape import Reshape

Q = Quant((0.5,), 3)
X = Tensor((1, 4), "int8", Q)
K = Tensor((4,), "int8", Q, np.array([1, 2, 3, 4], np.int8))
LIKE_K = replace(K, data=None)


def relu(source: str, target: str) -> Relu:
    return Relu(inputs=(source,), outputs=(target,))


reshape = Reshape(inputs=("x",), outputs=("y",))


def chain(**changes: object) -> Graph:
    """x -> a -> y, and a constant k that is added."""
    ops: tuple[Op, ...] = (relu("x", "a"), Add(inputs=("a", "k"), outputs=("y",)))
    return replace(Graph("net", {"x": X, "a": X, "y": X, "k": K}, ops, ("x",), ("y",)), **changes)


@pytest.mark.parametrize("scale", [(), (0.0,), (-1.0,), (float("nan"),), (float("inf"),), (1e-50,), (0.5, 0.5)])
def test_bad_scales(scale: tuple[float, ...]) -> None:
    with pytest.raises(GraphError, match="scales"):
        Quant(scale)


def test_scales_have_float32_precision() -> None:
    assert Quant((0.1,)).scale == (float(np.float32(0.1)),)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tensor((2, 0), "int8", Q), r"shape \(2, 0\) is empty"),
        (lambda: Tensor((2**16, 2**16), "int8", Q), "larger than 2,147,483,647 bytes"),
        (lambda: Tensor((1,), "int8", Quant((0.1,), 128)), "zero point 128 is not a value of int8"),
        (lambda: Tensor((1,), "uint8", Quant((0.1,), -1)), "zero point -1 is not a value of uint8"),
        (lambda: Tensor((2,), "int8", Q, np.zeros(3, np.int8)), r"constant is int8\(3,\), declared int8\(2,\)"),
        (lambda: Tensor((2,), "int8", Q, np.zeros(2, np.int32)), "constant is int32"),
        (lambda: Tensor((2,), "int8").scale, "has no per-tensor scale"),
        (lambda: Tensor((2,), "int8", Quant((1.0, 2.0), 0, 0)).scale, "has no per-tensor scale"),
    ],
)
def test_bad_tensors(make: object, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make()  # type: ignore[operator]


def test_constants_can_not_be_written_and_do_not_follow_their_source() -> None:
    source = np.array([1, 2], np.int8)
    t = Tensor((2,), "int8", Q, source)
    source[0] = 9
    assert t.data is not None
    assert t.data.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        t.data[0] = 5


def test_sizes() -> None:
    t = Tensor((1, 3, 5), "int32")
    assert (t.size, t.nbytes, t.zero_point) == (15, 60, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ()}, "'net' needs at least one input"),
        ({"outputs": ()}, "'net' needs at least one input and one output"),
        ({"inputs": ("k",)}, "graph input 'k' is a constant"),
        ({"tensors": {"x": Tensor((), "int8", Q)}}, r"graph input 'x' has no axes; give it the shape \(1,\)"),
        ({"inputs": ("nothing",)}, "'net' has no tensor 'nothing'"),
        ({"outputs": ("x", "z")}, "graph output 'z' is never written"),
        ({"outputs": ("y", "k")}, "graph output 'k' depends on no input: it is a constant; leave it out"),
        (
            {"ops": (relu("k", "z"),), "tensors": {"x": X, "k": K, "z": LIKE_K}, "outputs": ("z",)},
            "output 'z' depends on no input",
        ),
        ({"ops": (relu("q", "y"),)}, "relu 'y': reads 'q', which does not exist"),
        ({"ops": (relu("a", "y"), relu("x", "a"))}, "relu 'y': reads 'a' before it is written"),
        ({"ops": (relu("a", "a"),)}, "relu 'a': reads 'a' before it is written: the graph is cyclic"),
        ({"ops": (relu("x", "a"), relu("x", "a"))}, "relu 'a': writes 'a' a second time"),
        ({"ops": (relu("x", "k"),)}, "relu 'k': writes 'k' a second time"),
        ({"ops": (relu("x", "q"),)}, "relu 'q': writes 'q', which is not declared"),
        ({"tensors": {"x": X, "y": Tensor((1, 5), "int8", Q)}, "ops": (reshape,)}, "reshape 'y': 4 values of shape"),
    ],
)
def test_bad_graphs(changes: dict[str, object], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        chain(**changes).checked()


def test_run() -> None:
    x = np.array([[[-128, 0, 3, 100]], [[10, 127, -5, 7]]], np.int8)
    (y,) = chain().checked().run(x)
    # real: relu(x), plus the constant; zero point 3 stays.
    np.testing.assert_array_equal(y, np.minimum(np.maximum(x, 3) + np.array([1, 2, 3, 4]) - 3, 127))
    assert y.dtype == np.int8


def test_run_in_batches_and_of_nothing() -> None:
    x = np.random.default_rng(0).integers(-128, 128, (7, 1, 4)).astype(np.int8)
    np.testing.assert_array_equal(chain().run(x)[0], chain().run(x, batch=3)[0])
    assert chain().run(x[:0])[0].shape == (0, 1, 4)


@pytest.mark.parametrize("x", [np.zeros((2, 4), np.int8), np.zeros((2, 1, 4), np.uint8), np.zeros((2, 1, 5), np.int8)])
def test_run_refuses_wrong_inputs(x: np.ndarray) -> None:
    with pytest.raises(GraphError, match=r"input 'x' takes int8 of shape \(n, 1, 4\), got"):
        chain().run(x)


def test_trace_visits_each_output_in_order() -> None:
    seen: list[str] = []
    chain().trace(np.zeros((1, 1, 4), np.int8), visit=lambda name, _values: seen.append(name))
    assert seen == ["a", "y"]


def test_identity_changes_with_every_part_of_the_computation() -> None:
    base = chain()
    k = base["k"]
    assert k.data is not None
    others = [
        chain(ops=(relu("x", "a"), Add(inputs=("a", "k"), outputs=("y",), activation="relu"))),
        chain(tensors={**base.tensors, "k": replace(k, data=k.data + np.int8(1))}),
        chain(tensors={**base.tensors, "a": Tensor((1, 4), "int8", Quant((0.25,), 3))}),
        chain(tensors={**base.tensors, "y": Tensor((1, 4), "int8", Quant((0.5,), 4))}),
        chain(outputs=("a",)),
    ]
    assert len({g.sha256() for g in [base, *others]}) == 6
    assert base.sha256() == chain(name="other").sha256() == chain(tensors={**base.tensors, "unused": X}).sha256()


def test_with_ops_adds_and_drops_tensors() -> None:
    graph = chain().with_ops((relu("x", "b"), relu("b", "y")), {"b": X}).checked()
    assert set(graph.tensors) == {"x", "b", "y"}
    assert graph.used_constants() == {}
    assert set(chain().used_constants()) == {"k"}
    assert chain().macs() == 0
