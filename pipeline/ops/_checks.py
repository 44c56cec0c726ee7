"""Conditions that many operators demand of their tensors. Each raises a GraphError that names the operator and tensor."""

from __future__ import annotations

from pipeline.ir import Graph, Op

Shape = tuple[int, ...]


def expect_int8(op: Op, graph: Graph, *names: str) -> None:
    """Each tensor is int8 with one scale."""
    for name in names:
        t = graph[name]
        if t.dtype != "int8":
            raise op.fail(f"{name!r} is {t.dtype}; this operator has an int8 form only")
        if t.quant is None or len(t.quant.scale) != 1:
            raise op.fail(f"{name!r} needs one scale and zero point (per-tensor quantisation)")


def expect_shape(op: Op, graph: Graph, name: str, shape: Shape) -> None:
    if graph[name].shape != shape:
        raise op.fail(f"{name!r} is {graph[name].shape}, but the inputs and attributes give {shape}")


def expect_rank(op: Op, graph: Graph, rank: int, *names: str) -> None:
    for name in names:
        if len(graph[name].shape) != rank:
            raise op.fail(f"{name!r} must have {rank} dimensions, it has shape {graph[name].shape}")


def expect_axes(op: Op, graph: Graph, name: str) -> None:
    """For operators whose .tflite form has a constant with a number for each axis, which can not be empty there."""
    if not graph[name].shape:
        raise op.fail(f"{name!r} has no axes, which the .tflite form of this operator can not say; keep one of size 1")


def expect_same_quant(op: Op, graph: Graph, *names: str, scale_tolerance: float = 0.0) -> None:
    """All tensors share scale and zero point: the operator moves values without rescaling them."""
    first = graph[names[0]]
    for name in names[1:]:
        t = graph[name]
        if abs(t.scale - first.scale) > scale_tolerance or t.zero_point != first.zero_point:
            raise op.fail(
                f"{names[0]!r} (scale {first.scale:g}, zero point {first.zero_point}) and {name!r} (scale {t.scale:g}, "
                f"zero point {t.zero_point}) must be quantised alike; insert a quantize operator"
            )
