"""The ONNX nodes of each operator: one function an operator class, listed in `NODES`. A function reads real or stored values
through the writer and stores its result; it does not know whether the file will be QDQ or float."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from pipeline.codegen.onnx.moves import MOVES, common_layout, onnx_pads, reshaped
from pipeline.codegen.onnx.writer import TO_NCHW, TO_NHWC, Writer
from pipeline.errors import GraphError
from pipeline.ir import Array, Op
from pipeline.ops._activation import clamp_range
from pipeline.ops._convolution import per_channel_requant
from pipeline.ops.add import Add
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.dequantize import Dequantize
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.hard_swish import HardSwish
from pipeline.ops.leaky_relu import LeakyRelu
from pipeline.ops.logistic import Logistic
from pipeline.ops.lookup import Lookup
from pipeline.ops.maximum import Maximum
from pipeline.ops.mean import Mean
from pipeline.ops.minimum import Minimum
from pipeline.ops.mul import Mul
from pipeline.ops.prelu import Prelu
from pipeline.ops.quantize import Quantize
from pipeline.ops.relu import Relu
from pipeline.ops.softmax import Softmax
from pipeline.ops.sub import Sub
from pipeline.ops.tanh import Tanh
from pipeline.ops.transpose_conv import TransposeConv

Weighted = Conv2d | DepthwiseConv2d | FullyConnected | TransposeConv


def write_op(op: Op, w: Writer) -> None:
    """Append the nodes that compute `op`. GraphError when ONNX nodes for it have not been written."""
    try:
        write = NODES[type(op)]
    except KeyError:
        known = ", ".join(sorted(c.__name__ for c in NODES))
        raise GraphError(
            f"{op.kind} {op.output!r} has no ONNX form; operators with one: {known}. Choose a cortex_m target, or rebuild "
            "the layer from these."
        ) from None
    write(op, w)


def _bias(op: Weighted, w: Writer, shift: Array) -> list[str]:
    """The bias in units of the accumulator: input scale times weight scale. `shift` are the reference's, one a channel.

    The reference rounds twice: first to 2**shift, so that its results are on average half of that further from zero than
    ONNX Runtime's. Half of 2**shift is between half an accumulator unit and one: where a ReLU leaves only positive results,
    one unit more in the bias takes most of it away (measured: a third of the differing values is left).
    """
    x, weights, y = w.graph[op.inputs[0]], w.graph[op.inputs[1]], w.graph[op.output]
    assert weights.quant is not None  # the operators demand it
    scales = np.broadcast_to(np.asarray(weights.quant.scale, dtype=np.float32) * np.float32(x.scale), shift.shape).astype(
        np.float32
    )
    positive = clamp_range(getattr(op, "activation", "none"), y)[0] >= y.zero_point
    return w.bias(op, op.bias, scales, ((shift < 0) & positive).astype(np.int32))


def _convolution(op: Conv2d | DepthwiseConv2d, w: Writer, weights: Array, group: int) -> None:
    """`weights` are ONNX's (O, C/groups, KH, KW)."""
    x, constant = w.graph[op.inputs[0]], w.graph[op.inputs[1]]
    _, shift = per_channel_requant(x, constant, w.graph[op.output], len(weights))
    inputs = [w.real(op.inputs[0], "nchw"), w.weights(op, op.inputs[1], weights, axis=0), *_bias(op, w, shift)]
    y = w.node(
        "Conv", inputs, f"{op.output}/conv", kernel_shape=list(weights.shape[2:]), strides=list(op.stride),
        dilations=list(op.dilation), pads=onnx_pads(op.pads), group=group,
    )  # fmt: skip
    w.store(y, op.output, "nchw", op.activation)


def conv2d(op: Conv2d, w: Writer) -> None:
    x, weights = w.graph[op.inputs[0]], w.graph.constant(op.inputs[1])
    _convolution(op, w, weights.transpose(TO_NCHW), x.shape[3] // weights.shape[3])


def depthwise_conv2d(op: DepthwiseConv2d, w: Writer) -> None:
    x, weights = w.graph[op.inputs[0]], w.graph.constant(op.inputs[1])
    _convolution(op, w, weights.transpose(3, 0, 1, 2), x.shape[3])  # 1HWC to C1HW


def transpose_conv(op: TransposeConv, w: Writer) -> None:
    """ONNX's pads are the crops; what the output has beyond the last patch is its output padding."""
    x, weights, y = (w.graph[n] for n in (*op.inputs[:2], op.output))
    _, shift = per_channel_requant(x, weights, y, weights.shape[0])
    beyond = [y.shape[i + 1] + op.crop[i] - (x.shape[i + 1] - 1) * op.stride[i] - weights.shape[i + 1] for i in (0, 1)]
    data = w.graph.constant(op.inputs[1]).transpose(3, 0, 1, 2)  # OHWI to IOHW
    inputs = [w.real(op.inputs[0], "nchw"), w.weights(op, op.inputs[1], data, axis=1), *_bias(op, w, shift)]
    value = w.node(
        "ConvTranspose", inputs, f"{op.output}/conv", kernel_shape=list(data.shape[2:]), strides=list(op.stride),
        pads=[*op.crop, *(max(-b, 0) for b in beyond)], output_padding=[max(b, 0) for b in beyond],
    )  # fmt: skip
    w.store(value, op.output, "nchw", op.activation)


def fully_connected(op: FullyConnected, w: Writer) -> None:
    """Gemm, not MatMul: it takes the bias, and ONNX Runtime fuses it into one QGemm."""
    x, weights, y = w.graph[op.inputs[0]], w.graph[op.inputs[1]], w.graph[op.output]
    features, width = weights.shape
    rows = (x.size // width, width)
    source = w.real(op.inputs[0])
    if x.shape != rows:
        source = reshaped(w, source, f"{op.output}/rows", rows)
    _, shift = per_channel_requant(x, weights, y, features)
    inputs = [source, w.weights(op, op.inputs[1], w.graph.constant(op.inputs[1]), axis=0), *_bias(op, w, shift)]
    value = w.node("Gemm", inputs, f"{op.output}/gemm", transB=1)
    if y.shape == (rows[0], features):
        w.store(value, op.output, "nhwc", op.activation)
    else:  # quantised first: ONNX Runtime fuses an operator with the quantise node right behind it
        flat = w.quantized(value, op.output, f"{op.output}/flat")
        w.keep(reshaped(w, flat, f"{op.output}/shaped", y.shape), op.output, "nhwc", op.activation)


def arithmetic(operator: str) -> Callable[[Any, Writer], None]:
    """Two operands, broadcast: Add, Sub, Mul, Max, Min."""

    def write(op: Add | Sub | Mul | Maximum | Minimum, w: Writer) -> None:
        layout = common_layout(op, w)
        value = w.node(operator, [w.real(n, layout) for n in op.inputs], f"{op.output}/{operator.lower()}")
        w.store(value, op.output, layout, getattr(op, "activation", "none"))

    return write


def function(operator: str, *attributes: str) -> Callable[[Any, Writer], None]:
    """A function of each value, with operator fields that are node attributes."""

    def write(op: Op, w: Writer) -> None:
        layout = common_layout(op, w)
        inputs = [w.real(n, layout) for n in op.inputs]
        value = w.node(operator, inputs, f"{op.output}/{operator.lower()}", **{a: getattr(op, a) for a in attributes})
        w.store(value, op.output, layout)

    return write


def average_pool2d(op: AveragePool2d, w: Writer) -> None:
    x = w.graph[op.inputs[0]]
    source = w.averaged(op.inputs[0])
    if op.kernel == x.shape[1:3] and not any(op.pads):
        value = w.node("GlobalAveragePool", [source], f"{op.output}/mean")
    else:
        value = w.node(
            "AveragePool", [source], f"{op.output}/mean", kernel_shape=list(op.kernel), strides=list(op.stride),
            pads=onnx_pads(op.pads), count_include_pad=0,
        )  # fmt: skip
    w.store(value, op.output, "nchw", op.activation)


def mean(op: Mean, w: Writer) -> None:
    x, y = w.graph[op.inputs[0]], w.graph[op.output]
    if len(x.shape) == 4 and set(op.axes) == {1, 2}:
        value = w.node("GlobalAveragePool", [w.real(op.inputs[0], "nchw")], f"{op.output}/mean")
        if len(y.shape) == 4:
            w.store(value, op.output, "nchw")
            return
        # As in fully_connected: quantised before it is reshaped.
        pooled = w.quantized(value, op.output, f"{op.output}/pooled")
        flat = w.node("Transpose", [pooled], f"{op.output}/pooled/nhwc", perm=TO_NHWC)
        w.keep(reshaped(w, flat, f"{op.output}/flat", y.shape), op.output)
        return
    keep = int(len(y.shape) == len(x.shape))
    value = w.node("ReduceMean", [w.real(op.inputs[0])], f"{op.output}/mean", axes=list(op.axes), keepdims=keep)
    w.store(value, op.output)


def softmax(op: Softmax, w: Writer) -> None:
    """beta goes into the scale that the input is dequantised with."""
    w.store(w.node("Softmax", [w.real(op.inputs[0], times=op.beta)], f"{op.output}/softmax", axis=-1), op.output)


def relu(op: Relu, w: Writer) -> None:
    layout = common_layout(op, w)
    w.store(w.real(op.inputs[0], layout), op.output, layout, "relu")


def requantize(op: Quantize | Dequantize, w: Writer) -> None:
    layout = common_layout(op, w)
    w.store(w.real(op.inputs[0], layout), op.output, layout)


def lookup(op: Lookup, w: Writer) -> None:
    """A table has no ONNX operator of its own: Gather. In the float form the table's values are real, its index is not."""
    y, layout = w.graph[op.output], common_layout(op, w)
    index = w.node("Cast", [w.bytes(op.inputs[0], layout)], f"{op.output}/index", to=TensorProto.INT32)
    table = w.constant(f"{op.output}/table", w.encode(y, np.array(op.table, np.int8)))
    w.keep(w.node("Gather", [table, index], f"{op.output}/found"), op.output, layout)


NODES: Mapping[type[Op], Callable[[Any, Writer], None]] = {
    **MOVES,
    Add: arithmetic("Add"),
    AveragePool2d: average_pool2d,
    Conv2d: conv2d,
    DepthwiseConv2d: depthwise_conv2d,
    Dequantize: requantize,
    FullyConnected: fully_connected,
    HardSwish: function("HardSwish"),
    LeakyRelu: function("LeakyRelu", "alpha"),
    Logistic: function("Sigmoid"),
    Lookup: lookup,
    Maximum: arithmetic("Max"),
    Mean: mean,
    Minimum: arithmetic("Min"),
    Mul: arithmetic("Mul"),
    Prelu: function("PRelu"),
    Quantize: requantize,
    Relu: relu,
    Softmax: softmax,
    Sub: arithmetic("Sub"),
    Tanh: function("Tanh"),
    TransposeConv: transpose_conv,
}
