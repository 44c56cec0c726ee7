"""What the functions of layers.py, math.py and moves.py read a quantised ONNX graph with and write an int8 Graph with.

Between QuantizeLinear and DequantizeLinear an ONNX file computes in float; here the operator between them computes in int8
and its result is the quantised one. 8-bit values without sign become int8 by taking 128 off value and zero point: the same
numbers.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.errors import GraphError
from pipeline.fixedpoint import INT32_MAX
from pipeline.importers.layout import Axes, channels_last, plain, same_bytes
from pipeline.importers.onnx.file import OnnxFile, OnnxNode
from pipeline.importers.onnx.integers import Integers
from pipeline.importers.stored import StoredGraph, Value
from pipeline.ir import Array, Op, Quant, Tensor
from pipeline.ops._activation import Activation

PARTLY = (
    "Quantize the whole model with onnxruntime.quantization.quantize_static (QDQ format, 8 bits), or pass the float model "
    "with --calibration."
)
TRANSPARENT = ("Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose")
CLAMPS: dict[tuple[float | None, float | None], Activation] = {
    (0.0, None): "relu",
    (0.0, 6.0): "relu6",
    (-1.0, 1.0): "relu_n1_to_1",
}
MAX_TENSOR_BYTES = 64 << 20
MAX_MOVES = 16  # between a result and its QuantizeLinear


class OnnxBuilder(StoredGraph):
    """`values` are activations by ONNX name, `constants` real or integer arrays, `integers` what DequantizeLinear makes
    real. Inputs whose number of axes is in `last` are stored channels last, others as the file has them."""

    def __init__(self, file: OnnxFile, last: tuple[int, ...]) -> None:
        super().__init__()
        self.file = file
        self.last = last
        self.values: dict[str, Value] = {}
        self.constants: dict[str, Array] = dict(file.constants)
        self.integers: dict[str, Integers] = {}
        self.readers: dict[str, list[OnnxNode]] = defaultdict(list)
        self.declared: dict[str, Quant] = {}  # what QuantizeLinear says its result's quantisation is
        self.fixed: set[str] = set()  # tensors whose operator has a quantisation of its own
        self.done: set[str] = set()  # outputs of clamps that an operator has taken in
        for node in file.nodes:
            for name in dict.fromkeys(node.inputs):
                self.readers[name].append(node)

    # Reading

    def value(self, node: OnnxNode, i: int) -> Value:
        """Input i, an activation."""
        name = self.input_name(node, i)
        if name in self.values:
            return self.values[name]
        for dtype in (dtype for n, dtype, _ in self.file.inputs if n == name):
            behind = self.quant(name, "QuantizeLinear" if dtype == "float32" else "DequantizeLinear")
            if node.op in TRANSPARENT and behind is not None:
                self.add_input(name, behind, dtype)
                return self.values[name]
            raise node.fail(f"reads the input {name!r} as it is, not quantised. {PARTLY}")
        if name in self.constants or name in self.integers:
            raise node.fail(f"{name!r} is a constant where an activation is expected")
        raise node.fail(f"reads {name!r} before anything writes it: the graph is cyclic, out of order or incomplete")

    def input_name(self, node: OnnxNode, i: int) -> str:
        if i >= len(node.inputs) or not node.inputs[i]:
            raise node.fail(f"input {i} is missing")
        return node.inputs[i]

    def given(self, node: OnnxNode, i: int) -> bool:
        return i < len(node.inputs) and bool(node.inputs[i])

    def is_constant(self, name: str) -> bool:
        return name in self.constants or name in self.integers

    def constant(self, node: OnnxNode, i: int, what: str) -> Array:
        """Input i as real (or integer) numbers; it must be known beforehand."""
        name = self.input_name(node, i)
        if name in self.constants:
            return self.constants[name]
        if name in self.integers:
            return self.integers[name].real
        raise node.fail(f"{what} ({name!r}) must be a constant; values computed at run time are not supported")

    def ints(self, node: OnnxNode, i: int, attribute: str = "") -> list[int] | None:
        """Integers that newer opsets give as input i and older ones as attribute; None when left out."""
        if attribute in node.attributes:
            value = node.attributes[attribute]
            return node.integers(attribute, []) if isinstance(value, list) else [node.integer(attribute, 0)]
        if not self.given(node, i):
            return None
        values = self.constant(node, i, attribute or "its integers")
        if values.dtype.kind not in "iu" or values.size > 64:
            raise node.fail(
                f"{attribute or 'input'} {node.inputs[i]!r} must be a few integers, it is {values.dtype}{values.shape}"
            )
        return [int(v) for v in values.reshape(-1)]

    def weights(self, node: OnnxNode, i: int, channel_axis: int) -> tuple[Array, Array]:
        """(int8 values, scales) of input i, one scale or one for each index of `channel_axis`, zero point 0."""
        name = self.input_name(node, i)
        if name not in self.integers:
            kind = "float: the activations are quantised, but they are not" if name in self.constants else "no constants"
            raise node.fail(f"its weights {name!r} are {kind}. {PARTLY}")
        w = self.integers[name]
        offset = 128 if w.values.dtype == np.uint8 else 0
        if w.values.dtype not in (np.int8, np.uint8) or bool((w.zero.astype(np.int64) != offset).any()):
            raise node.fail(f"its weights {name!r} must be 8 bits wide and symmetric (zero point {offset}). {PARTLY}")
        if w.scale.size > 1 and w.axis != channel_axis:
            raise node.fail(
                f"its weights {name!r} have scales along axis {w.axis}; output channels are along {channel_axis}"
            )
        values = w.values.astype(np.int16) - offset
        return values.astype(np.int8), w.scale.reshape(-1)

    def bias(self, node: OnnxNode, i: int, x: Value, scales: Array, count: int) -> Array | None:
        """Input i, `count` values (or one for all), as int32 in units of input scale times weight scale; None when it is
        left out or zero."""
        if not self.given(node, i):
            return None
        real = self.constant(node, i, "its bias").astype(np.float64).reshape(-1)
        if real.size not in (1, count) or scales.size not in (1, count):
            raise node.fail(
                f"its bias {node.inputs[i]!r} has {real.size} values, its weights {scales.size} scales; {count} fit"
            )
        steps = self.tensors[x.name].scale * scales.astype(np.float64)
        units = np.rint(np.broadcast_to(real, count) / steps)
        if not np.isfinite(units).all() or np.abs(units).max(initial=0) > INT32_MAX:
            raise node.fail(
                f"its bias {node.inputs[i]!r} does not fit into 32 bits at its scale (input scale times weight scale)"
            )
        return units.astype(np.int32) if units.any() else None

    def quant(self, name: str, by: str = "QuantizeLinear") -> Quant | None:
        """How the value `name` is quantised, perhaps behind operators that only move it; None when it is not."""
        ahead = [name]
        for name in ahead:  # grows on the way
            for reader in self.readers[name]:
                if reader.inputs[0] != name or len(ahead) > MAX_MOVES:
                    continue
                if reader.op == by:
                    return self.activation_quant(reader)
                if reader.op in TRANSPARENT:
                    ahead.append(reader.outputs[0])
        return None

    def activation_quant(self, node: OnnxNode) -> Quant:
        """The one int8 scale and zero point that a QuantizeLinear or DequantizeLinear carries."""
        scale, zero, _ = self.parameters(node)
        if scale.size != 1 or zero.size != 1:
            raise node.fail("an activation is quantised per channel; activations need one scale and zero point")
        if zero.dtype not in (np.int8, np.uint8):
            raise node.fail(f"it quantises to {zero.dtype}; activations must be 8 bits wide. {PARTLY}")
        try:
            return Quant((float(scale.reshape(())),), int(zero.reshape(())) - (128 if zero.dtype == np.uint8 else 0))
        except GraphError as e:
            raise node.fail(str(e)) from None

    def parameters(self, node: OnnxNode) -> tuple[Array, Array, int | None]:
        """(scale, zero point, axis where they are several) of a QuantizeLinear or DequantizeLinear."""
        scale = np.asarray(self.constant(node, 1, "its scale"))
        zero = (
            np.asarray(self.constant(node, 2, "its zero point")) if self.given(node, 2) else np.zeros(scale.shape, np.uint8)
        )
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise node.fail("its scales must be positive and finite")
        if node.integer("block_size", 0) or scale.ndim > 1 or zero.size not in (1, scale.size):
            raise node.fail("blockwise quantisation is not supported, only per tensor and per channel")
        return scale, zero, node.integer("axis", 1) if scale.size > 1 else None

    # Writing

    def label(self, node: OnnxNode) -> str:
        return re.sub(r"[^A-Za-z0-9_./-]+", "_", node.name or node.outputs[0]).strip("/_")[:160] or node.op

    def emit(
        self, node: OnnxNode, cls: type[Op], inputs: Sequence[str], shape: Axes, order: Axes, *, stored: Axes | None = None,
        quant: Quant | None = None, clamps: bool = False, flat: tuple[Axes, Axes] | None = None, **attributes: Any,
    ) -> None:  # fmt: skip
        """Write the operator that computes `node`, whose result has `shape` in ONNX's order of axes and is stored in `order`
        (or first in the shape `stored`, when the operator's own rank differs). `quant` is for results without their own;
        with `clamps`, a relu that alone reads the result becomes part of the operator."""
        end = node.outputs[0]
        if clamps and (clamp := self._clamp_after(end)):
            end, attributes["activation"] = clamp
        found = self.quant(end) if quant is None else quant
        if found is None:
            raise node.fail(f"its result {end!r} is not quantised: this model is only partly int8. {PARTLY}")
        own = tuple(shape[i] for i in order)
        if math.prod(own) > MAX_TENSOR_BYTES or len(shape) > 6:
            raise node.fail(f"its result has shape {shape}, more than {MAX_TENSOR_BYTES:,} bytes")
        label = self.label(node)
        name = self.write_wide(cls, inputs, stored or own, own, found, label, **attributes)
        self.values[node.outputs[0]] = self.values[end] = Value(name, shape, order, flat)
        self.done |= {end} - {node.outputs[0]}

    def _clamp_after(self, name: str) -> tuple[str, Activation] | None:
        """The output of the clamp that alone reads `name`, and which it is."""
        readers = self.readers[name]
        if len(readers) != 1 or any(name == n for n, _, _ in self.file.outputs) or readers[0].op not in ("Relu", "Clip"):
            return None
        activation = CLAMPS.get(self.clamp_bounds(readers[0]))
        return (readers[0].outputs[0], activation) if activation else None

    def clamp_bounds(self, node: OnnxNode) -> tuple[float | None, float | None]:
        """(low, high) of a Relu or Clip, None for no limit."""
        if node.op == "Relu":
            return 0.0, None

        def bound(attribute: str, i: int) -> float | None:
            if attribute in node.attributes:
                value = node.number(attribute, 0.0)
            elif self.given(node, i):
                value = float(self.constant(node, i, attribute).reshape(-1)[:1].sum())
            else:
                return None
            return value if abs(value) < 3e38 else None  # older opsets write float32's limits for "none"

        return bound("min", 1), bound("max", 2)

    def add_weights(
        self, node: OnnxNode, w: Array, scales: Array, axis: int, bias: Array | None, x: Value
    ) -> tuple[str, ...]:
        """Names of weights (stored layout, channels along `axis`) and, if any, bias."""
        several = scales.size > 1
        quant = Quant(tuple(float(s) for s in scales), 0, axis if several else None)
        names = [self.add_constant(f"{self.label(node)}.weight", np.ascontiguousarray(w), quant)]
        if bias is not None:
            steps = tuple(self.tensors[x.name].scale * s for s in quant.scale)
            names.append(self.add_constant(f"{self.label(node)}.bias", bias, Quant(steps, 0, 0 if several else None)))
        return tuple(names)

    # The ends

    def add_input(self, name: str, quant: Quant, dtype: str) -> None:
        """The graph's input `name`, where the file declares one of that dtype."""
        for declared, declared_dtype, shape in self.file.inputs:
            if declared != name or declared_dtype != dtype:
                continue
            if shape is None:
                raise GraphError(f"input {name!r} has no shape; export the model with fixed sizes and a batch of 1")
            if any(d is None for d in shape[1:]) or (shape and shape[0] not in (None, 1)):
                raise GraphError(f"input {name!r} has shape {shape}; export the model with fixed sizes and a batch of 1")
            fixed = (1, *(d for d in shape[1:] if d is not None)) if shape else ()
            if math.prod(fixed) > MAX_TENSOR_BYTES:
                raise GraphError(f"input {name!r} has shape {shape}, more than {MAX_TENSOR_BYTES:,} bytes")
            order = channels_last(len(fixed)) if len(fixed) in self.last else plain(len(fixed))
            unique = self.unique(name)
            self.tensors[unique] = Tensor(tuple(fixed[i] for i in order), "int8", quant)
            self.values[name] = Value(unique, fixed, order)

    def output(self, name: str) -> Value:
        """The value of a graph output: as it is stored where that is the file's order or channels last."""
        if name not in self.values:
            raise GraphError(f"graph output {name!r} is not quantised, or never written. {PARTLY}")
        value = self.unflattened(self.values[name])
        rank = len(value.shape)
        usual = (channels_last(rank), plain(rank)) if rank == 4 else (plain(rank), channels_last(rank))
        at_hand = [order for order in usual if same_bytes(value.shape, value.order, order)]
        return self.stored_as(value, (at_hand or usual)[0])
