"""A Graph held against what it was made from, layer by layer: each operator gets the source's own values, so that the
roundings of one layer are not added to the next one's, and what was misread shows where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import GraphError
from pipeline.importers.stored import Value
from pipeline.ir import Array, Graph, Op
from pipeline.proof.tolerances import SOURCE_INPUT, source_layer


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the source computes for one value of the Graph: `values`, real numbers (n, *value.shape), of what it calls
    `name`."""

    name: str
    value: Value
    values: Array


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """The operator that writes `tensor`, and how many steps it is `apart`, (n,), in each example, from what the source calls
    `name`; `allowed` are that many."""

    tensor: str
    kind: str
    name: str
    apart: Array
    allowed: int

    @property
    def lsb(self) -> int:
        return int(self.apart.max(initial=0))


def layers(graph: Graph, int8_inputs: Sequence[Array], seen: Sequence[Seen]) -> list[Layer]:
    """The layers that the source knows, in the Graph's order, and the inputs. GraphError when a value has another shape than
    it was read with."""
    known: dict[str, list[tuple[Seen, Array]]] = {}
    for s in seen:
        known.setdefault(s.value.name, []).append((s, as_stored(graph, s)))
    found: list[Layer] = []
    values: dict[str, Array] = {}
    slack: dict[str, int] = {}

    def compare(name: str, kind: str, allowed: int, y: Array) -> None:
        """Compare with all that the source says of this tensor, and go on with what it says."""
        for s, theirs in known.get(name, ()):
            apart = np.abs(y.astype(np.int32) - theirs).reshape(len(y), -1).max(axis=1, initial=0)
            found.append(Layer(name, kind, s.name, apart, allowed))
        values[name], slack[name] = (known[name][0][1], 0) if name in known else (y, allowed)

    for name, x in zip(graph.inputs, int8_inputs, strict=True):
        compare(name, "input", SOURCE_INPUT.lsb, x)
    for op in graph.ops:
        allowed = source_layer(op).lsb + max((slack[n] for n in op.inputs if n in slack), default=0)
        for name, y in zip(op.outputs, op.reference(graph, *_arguments(graph, op, values)), strict=True):
            compare(name, op.kind, allowed, y)
    return found


def _arguments(graph: Graph, op: Op, values: Mapping[str, Array]) -> list[Array]:
    return [values[n] if n in values else graph.constant(n) for n in op.inputs]


def as_stored(graph: Graph, s: Seen) -> Array:
    """The int8 values of the Graph's tensor, (n, *shape), that these real ones are nearest to."""
    t, value, n = graph[s.value.name], s.value, len(s.values)
    if s.values.shape != (n, *value.shape):
        raise GraphError(f"{s.name!r} has shape {s.values.shape[1:]}, it was read as {value.shape}; report this as a bug.")
    if value.flat is not None:
        stored = s.values[..., value.columns]
    else:
        stored = s.values.transpose(0, *(1 + axis for axis in value.order))
    steps: Array = np.rint(stored.astype(np.float64) / t.scale) + t.zero_point
    return np.clip(steps, -128, 127).astype(np.int8).reshape(n, *t.shape)


def exact(found: Sequence[Layer]) -> int:
    """Of how many examples no layer is apart."""
    return int((np.max([layer.apart for layer in found], axis=0) == 0).sum())


def first_apart(found: Sequence[Layer]) -> str | None:
    """What to say of the first layer that is further away than it may be; None when none is."""
    bad = [layer for layer in found if layer.lsb > layer.allowed]
    if not bad:
        return None
    first = bad[0]
    more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    there = f"{first.kind} {first.tensor!r} ({first.name!r} there)"
    return f"{there} is {first.lsb} steps off, {first.allowed} allowed, the first that is too far{more}"
