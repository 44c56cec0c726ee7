"""What ONNX nodes are written with: values by tensor and layout, and how a number is stored: uint8 (QDQ) or float32.

The graph is NHWC, ONNX's windowed operators take NCHW. Each writer keeps a 4-D value in the layout it was written in and
transposes where the other is read; ONNX Runtime turns quantised convolutions into NHWC ones, and the transposes cancel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.fixedpoint import INT32_MAX, dequantize
from pipeline.ir import Array, Graph, Op, Tensor
from pipeline.ops._activation import Activation, clamp_range
from pipeline.ops._onnx import TO_NCHW, TO_NHWC, Layout

OFFSET = 128
"""uint8 value = int8 value + 128, for values and zero points alike: the same real number."""


def to_stored(values: Array) -> Array:
    """int8 values as the int8 files take them: uint8. Values of another type as they are."""
    return (values.astype(np.int16) + OFFSET).astype(np.uint8) if values.dtype == np.int8 else values


def from_stored(values: Array, t: Tensor) -> Array:
    """What an int8 file gives for the graph's tensor `t`, in the tensor's own type."""
    return (values.astype(np.int16) - OFFSET).astype(np.int8) if t.dtype == "int8" and values.dtype == np.uint8 else values


class Writer(ABC):
    """Nodes and constants of one ONNX graph. A value's "nhwc" form is the tensor as the int8 graph has it, of any rank."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.known: dict[tuple[str, Layout], str] = {}

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """One node with one output, whose name it returns."""
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Array) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        return name

    def layout(self, tensor: str) -> Layout:
        """NCHW when it was written so, else the graph's own."""
        return "nchw" if (tensor, "nchw") in self.known else "nhwc"

    def stored(self, tensor: str, layout: Layout = "nhwc") -> str:
        """The name of the tensor's stored value in this layout; a transpose is written where only the other exists."""
        key = tensor, layout
        if key not in self.known:
            t = self.graph[tensor]
            perm = TO_NCHW if layout == "nchw" else TO_NHWC
            if t.data is not None:
                data = self.encode(t, t.data)
                if layout == "nchw":  # of fewer axes when it is broadcast along the others
                    data = data.reshape(*[1] * (4 - data.ndim), *data.shape).transpose(perm)
                self.known[key] = self.constant(_name(key), data)
            else:
                other = self.known[tensor, "nhwc" if layout == "nchw" else "nchw"]
                self.known[key] = self.node("Transpose", [other], _name(key), perm=perm)
        return self.known[key]

    def store(self, value: str, tensor: str, layout: Layout = "nhwc", activation: Activation = "none") -> None:
        """Real values, clamped as `activation` says, become `tensor`."""
        self.keep(self.quantized(value, tensor, f"{_name((tensor, layout))}/unclamped"), tensor, layout, activation)

    def keep(self, stored: str, tensor: str, layout: Layout = "nhwc", activation: Activation = "none") -> None:
        """The same for values that are stored ones of the tensor's quantisation already."""
        name = _name((tensor, layout))
        operator, bounds = self.clamp(tensor, activation)
        if operator == "Identity" and self.nodes and self.nodes[-1].output[0] == stored not in self.known.values():
            # Renamed, not copied: ONNX Runtime must see an operator and its quantise node side by side.
            self.nodes[-1].output[0] = self.nodes[-1].name = name
        else:
            self.node(operator, [stored, *bounds], name)
        self.known[tensor, layout] = name

    @abstractmethod
    def element(self, t: Tensor) -> int:
        """The TensorProto type it is stored as."""

    @abstractmethod
    def encode(self, t: Tensor, values: Array) -> Array:
        """int8 values under the quantisation of `t`, as they are stored."""

    @abstractmethod
    def bytes(self, tensor: str, layout: Layout = "nhwc") -> str:
        """The tensor's uint8 values (int8 + 128), in either form."""

    @abstractmethod
    def real(self, tensor: str, layout: Layout = "nhwc", *, times: float = 1.0) -> str:
        """The tensor's real values, times a constant."""

    @abstractmethod
    def quantized(self, value: str, tensor: str, name: str) -> str:
        """Real values in stored form, under the tensor's quantisation; `name` is for a new value."""

    @abstractmethod
    def clamp(self, tensor: str, activation: Activation) -> tuple[str, list[str]]:
        """The operator ("Identity" for none) and further inputs that clamp the tensor's stored values."""

    @abstractmethod
    def weights(self, reader: Op, tensor: str, data: Array, axis: int) -> str:
        """Real weights for one operator: `data` are the tensor's, reordered so that its scales run along `axis`."""

    @abstractmethod
    def averaged(self, tensor: str) -> str:
        """The tensor's real values in NCHW, about to be averaged."""

    @abstractmethod
    def bias(self, reader: Op, tensor: str | None, scales: Array, nudge: Array) -> list[str]:
        """Real biases of an int32 tensor for one operator, one for each of `scales`, or nothing. `nudge` is added to them
        where the result is rounded to integers."""


def _name(key: tuple[str, Layout]) -> str:
    return f"{key[0]}/nchw" if key[1] == "nchw" else key[0]


class QdqWriter(Writer):
    """Activations are uint8, weights int8, biases int32; QuantizeLinear and DequantizeLinear stand around each operator."""

    def element(self, t: Tensor) -> int:
        return int(TensorProto.FLOAT if t.dtype == "float32" else TensorProto.UINT8)

    def encode(self, t: Tensor, values: Array) -> Array:
        return np.asarray(values.astype(np.int16) + OFFSET).astype(np.uint8)

    def bytes(self, tensor: str, layout: Layout = "nhwc") -> str:
        return self.stored(tensor, layout)

    def _quantisation(self, tensor: str, times: float = 1.0) -> list[str]:
        """The names of its scale, times a constant, and of its zero point."""
        t = self.graph[tensor]
        suffix = "" if times == 1.0 else f"/times_{times:g}"
        zero_point = t.zero_point + (OFFSET if t.dtype == "int8" else 0)
        scale = self.constant(f"{tensor}/scale{suffix}", np.array(t.scale * times, np.float32))
        return [scale, self.constant(f"{tensor}/zero_point", np.array(zero_point, np.uint8))]

    def real(self, tensor: str, layout: Layout = "nhwc", *, times: float = 1.0) -> str:
        stored = self.stored(tensor, layout)
        if self.graph[tensor].dtype == "float32":
            return stored
        name = f"{stored}/real" if times == 1.0 else f"{stored}/real/times_{times:g}"
        if not any(n.name == name for n in self.nodes):
            self.node("DequantizeLinear", [stored, *self._quantisation(tensor, times)], name)
        return name

    def quantized(self, value: str, tensor: str, name: str) -> str:
        if self.graph[tensor].dtype == "float32":
            return value
        return self.node("QuantizeLinear", [value, *self._quantisation(tensor)], name)

    def clamp(self, tensor: str, activation: Activation) -> tuple[str, list[str]]:
        """On the stored integers: exact, and the operator before keeps the quantise node that ONNX Runtime fuses it with."""
        low, high = clamp_range(activation, self.graph[tensor])
        if (low, high) == (-128, 127):
            return "Identity", []
        bounds = (("clamp_min", low), ("clamp_max", high))
        return "Clip", [self.constant(f"{tensor}/{name}", np.array(v + OFFSET, np.uint8)) for name, v in bounds]

    def weights(self, reader: Op, tensor: str, data: Array, axis: int) -> str:
        quant = self.graph[tensor].quant
        assert quant is not None  # the operators demand it
        scales = np.array(quant.scale if len(quant.scale) > 1 else quant.scale[0], np.float32)
        return self._dequantized(f"{reader.output}/weights", data, scales, np.int8, axis)

    def averaged(self, tensor: str) -> str:
        """Integer means often end in one half: the reference rounds that away from int8 zero, ONNX Runtime to even. After a
        ReLU (zero point -128) most means are negative int8: there a scale a millionth smaller makes halves go down too."""
        return self.real(tensor, "nchw", times=1 - 2**-20 if self.graph[tensor].zero_point == -OFFSET else 1.0)

    def bias(self, reader: Op, tensor: str | None, scales: Array, nudge: Array) -> list[str]:
        if tensor is None and not nudge.any():
            return []
        data = self.graph.constant(tensor).reshape(-1).astype(np.int64) if tensor else np.zeros(len(scales), np.int64)
        nudged = np.minimum(data + nudge, INT32_MAX).astype(np.int32)
        return [self._dequantized(f"{reader.output}/bias", nudged, scales, np.int32)]

    def _dequantized(self, name: str, data: Array, scales: Array, dtype: type, axis: int = 0) -> str:
        names = [self.constant(name, data), self.constant(f"{name}/scale", scales)]
        names.append(self.constant(f"{name}/zero_point", np.zeros(scales.shape, dtype)))
        return self.node("DequantizeLinear", names, f"{name}/real", **({"axis": axis} if scales.ndim else {}))


class FloatWriter(Writer):
    """The same graph in float32: the real numbers that the int8 weights and biases stand for, activations not rounded."""

    def element(self, t: Tensor) -> int:
        return int(TensorProto.FLOAT)

    def encode(self, t: Tensor, values: Array) -> Array:
        return dequantize(values, t.scale, t.zero_point)

    def bytes(self, tensor: str, layout: Layout = "nhwc") -> str:
        t, stored = self.graph[tensor], self.stored(tensor, layout)
        scale = self.constant(f"{tensor}/scale", np.array(t.scale, np.float32))
        zero_point = self.constant(f"{tensor}/zero_point", np.array(t.zero_point + OFFSET, np.uint8))
        return self.node("QuantizeLinear", [stored, scale, zero_point], f"{stored}/bytes")

    def real(self, tensor: str, layout: Layout = "nhwc", *, times: float = 1.0) -> str:
        stored = self.stored(tensor, layout)
        if times == 1.0:
            return stored
        factor = self.constant(f"{tensor}/times_{times:g}", np.array(times, np.float32))
        return self.node("Mul", [stored, factor], f"{stored}/real/times_{times:g}")

    def quantized(self, value: str, tensor: str, name: str) -> str:
        return value

    def clamp(self, tensor: str, activation: Activation) -> tuple[str, list[str]]:
        if activation in ("none", "relu"):
            return ("Identity", []) if activation == "none" else ("Relu", [])
        low, high = {"relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}[activation]
        bounds = (("clamp_min", low), ("clamp_max", high))
        return "Clip", [self.constant(f"{activation}/{name}", np.array(v, np.float32)) for name, v in bounds]

    def weights(self, reader: Op, tensor: str, data: Array, axis: int) -> str:
        quant = self.graph[tensor].quant
        assert quant is not None
        along = [1] * data.ndim
        along[axis] = len(quant.scale)
        real = data.astype(np.float32) * np.array(quant.scale, np.float32).reshape(along)
        return self.constant(f"{reader.output}/weights", real)

    def averaged(self, tensor: str) -> str:
        return self.real(tensor, "nchw")

    def bias(self, reader: Op, tensor: str | None, scales: Array, nudge: Array) -> list[str]:
        if tensor is None:
            return []
        real = self.graph.constant(tensor).reshape(-1).astype(np.float32) * scales
        return [self.constant(f"{reader.output}/bias", real)]
