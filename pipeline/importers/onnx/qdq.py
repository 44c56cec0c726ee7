"""QuantizeLinear and DequantizeLinear: what they make of constants, and what they say about activations."""

from __future__ import annotations

import numpy as np

from pipeline.importers.onnx.builder import OnnxBuilder
from pipeline.importers.onnx.file import OnnxNode
from pipeline.importers.onnx.integers import Integers
from pipeline.ir import Array

NEAR = 0.01
SAME = 1e-5  # some writers scale by 0.999999 to keep onnxruntime from an operator of its own


def quantize(b: OnnxBuilder, node: OnnxNode) -> None:
    """QuantizeLinear: of an input, it says how the graph's input is quantised; of a result, how that is."""
    name, out = b.input_name(node, 0), node.outputs[0]
    if name in b.constants:
        scale, zero, axis = _fitting(b, node, b.constants[name], "f")
        if zero.dtype.kind not in "iu":
            raise node.fail(f"it quantises to {zero.dtype}, which is no integer type")
        along = [-1 if i == axis else 1 for i in range(b.constants[name].ndim)] if axis is not None else []
        levels = np.rint(b.constants[name] / scale.reshape(along)) + zero.reshape(along if zero.size > 1 else [])
        info = np.iinfo(zero.dtype)
        b.constants[out] = np.clip(np.nan_to_num(levels), info.min, info.max).astype(zero.dtype)
        return
    quant = b.activation_quant(node)
    if name not in b.values:
        b.add_input(name, quant, "float32")
    value = b.value(node, 0)
    # A softmax has 1/256 of its own, where files say 1/255: the numbers meant are the same.
    own = b.tensors[value.name].scale if value.name in b.fixed else 0.0
    near = abs(own - quant.scale[0]) <= NEAR * own and b.tensors[value.name].zero_point == quant.zero_point
    b.values[out] = value if near else b.requantised(value, quant)
    b.declared[out] = quant


def dequantize(b: OnnxBuilder, node: OnnxNode) -> None:
    """DequantizeLinear: of a constant, its real values; of an activation, nothing more to do."""
    name, out = b.input_name(node, 0), node.outputs[0]
    if name in b.constants:
        values = b.constants[name]
        scale, zero, axis = _fitting(b, node, values, "iu")
        if not b.given(node, 2):
            zero = np.zeros(1, values.dtype)
        b.integers[out] = Integers(values, scale.astype(np.float64), zero, axis)
        return
    quant = b.activation_quant(node)
    if name not in b.values:
        b.add_input(name, quant, "uint8" if b.parameters(node)[1].dtype == np.uint8 else "int8")
    value = b.value(node, 0)
    written = b.declared.get(name, b.quant_of(value))
    if written.zero_point != quant.zero_point or abs(written.scale[0] - quant.scale[0]) > SAME * quant.scale[0]:
        raise node.fail(f"it reads {name!r} with another scale or zero point than that was written with")
    b.values[out] = value


def _fitting(b: OnnxBuilder, node: OnnxNode, values: Array, kinds: str) -> tuple[Array, Array, int | None]:
    """(scale, zero point, axis) for a constant of one of those kinds of numbers, each scale with its index of the axis."""
    scale, zero, axis = b.parameters(node)
    axis = None if axis is None else axis % max(values.ndim, 1)
    if values.dtype.kind not in kinds or (axis is not None and (values.ndim == 0 or values.shape[axis] != scale.size)):
        raise node.fail(f"{scale.size} scales along axis {axis} do not fit its constant, {values.dtype}{values.shape}")
    return scale, zero, axis
