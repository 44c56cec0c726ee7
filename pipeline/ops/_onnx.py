"""How an operator says itself in ONNX: through a writer that knows whether the file will be QDQ or float; onnx itself is not
imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from pipeline.ir import Array, Graph, Op, Tensor
from pipeline.ops._activation import Activation
from pipeline.ops._window import Pads

Layout = Literal["nhwc", "nchw"]
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
INT32 = 6
"""onnx.TensorProto.INT32."""


class OnnxWriter(Protocol):
    """What an operator may ask for; `pipeline.codegen.onnx.writer` has both forms. A value's "nhwc" form is the tensor as
    the int8 graph has it, of any rank."""

    graph: Graph

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """One node with one output, whose name it returns."""

    def constant(self, name: str, value: Array) -> str: ...

    def layout(self, tensor: str) -> Layout:
        """NCHW when it was written so, else the graph's own."""

    def stored(self, tensor: str, layout: Layout = "nhwc") -> str:
        """The name of the tensor's stored value in this layout."""

    def store(self, value: str, tensor: str, layout: Layout = "nhwc", activation: Activation = "none") -> None:
        """Real values, clamped as `activation` says, become `tensor`."""

    def keep(self, stored: str, tensor: str, layout: Layout = "nhwc", activation: Activation = "none") -> None:
        """The same for values that are stored ones of the tensor's quantisation already."""

    def encode(self, t: Tensor, values: Array) -> Array:
        """int8 values under the quantisation of `t`, as they are stored."""

    def bytes(self, tensor: str, layout: Layout = "nhwc") -> str:
        """The tensor's uint8 values (int8 + 128), in either form."""

    def real(self, tensor: str, layout: Layout = "nhwc", *, times: float = 1.0) -> str:
        """The tensor's real values, times a constant."""

    def quantized(self, value: str, tensor: str, name: str) -> str:
        """Real values in stored form, under the tensor's quantisation; `name` is for a new value."""

    def weights(self, reader: Op, tensor: str, data: Array, axis: int) -> str:
        """Real weights for one operator: `data` are the tensor's, reordered so that its scales run along `axis`."""

    def averaged(self, tensor: str) -> str:
        """The tensor's real values in NCHW, about to be averaged."""

    def bias(self, reader: Op, tensor: str | None, scales: Array, nudge: Array) -> list[str]:
        """Real biases of an int32 tensor for one operator, one for each of `scales`, or nothing. `nudge` is added to them
        where the result is rounded to integers."""


@runtime_checkable
class InOnnx(Protocol):
    """An operator that has an ONNX form."""

    def onnx(self, w: OnnxWriter) -> None:
        """Append the nodes that compute it."""


def onnx_pads(pads: Pads) -> list[int]:
    """(top, bottom, left, right) in ONNX's order: all begins, then all ends."""
    return [pads[0], pads[2], pads[1], pads[3]]


def common_layout(op: Op, w: OnnxWriter) -> Layout:
    """NCHW when all values are 4-D (constants may be broadcast) and one is NCHW already, else the graph's own: ONNX counts
    and broadcasts axes as they are stored."""
    values = [n for n in (*op.inputs, *op.outputs) if w.graph[n].data is None]
    if all(len(w.graph[n].shape) == 4 for n in values) and any(w.layout(n) == "nchw" for n in op.inputs):
        return "nchw"
    return "nhwc"


def elementwise(op: Op, w: OnnxWriter, operator: str, activation: Activation = "none", **attributes: float) -> None:
    """A function of each value, or of two that are broadcast."""
    layout = common_layout(op, w)
    value = w.node(operator, [w.real(n, layout) for n in op.inputs], f"{op.output}/{operator.lower()}", **attributes)
    w.store(value, op.output, layout, activation)


def requantized(op: Op, w: OnnxWriter, activation: Activation = "none") -> None:
    """The same real values, clamped, under the output's quantisation."""
    layout = common_layout(op, w)
    w.store(w.real(op.inputs[0], layout), op.output, layout, activation)


def reshaped(w: OnnxWriter, value: str, name: str, shape: tuple[int, ...]) -> str:
    return w.node("Reshape", [value, w.constant(f"{name}/shape", np.array(shape, np.int64))], name)


def sliced(w: OnnxWriter, source: str, target: str, begin: list[int], end: list[int], strides: list[int]) -> str:
    parts = (("begin", begin), ("end", end), ("axes", list(range(len(begin)))), ("strides", strides))
    names = [w.constant(f"{target}/{name}", np.array(v, np.int64)) for name, v in parts]
    return w.node("Slice", [w.stored(source), *names], f"{target}/cut")
