"""The ONNX nodes of each operator: one function an operator class, listed in `NODES`. A function reads real or stored values
through the writer and stores its result; it does not know whether the file will be QDQ or float."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.codegen.onnx_writer import TO_NCHW, TO_NHWC, Layout, Writer
from pipeline.errors import GraphError
from pipeline.ir import Array, Op
from pipeline.ops._activation import clamp_range
from pipeline.ops._convolution import per_channel_requant
from pipeline.ops._window import Pads
from pipeline.ops.add import Add
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected, fully_connected_requant
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.mean import Mean
from pipeline.ops.pad import Pad
from pipeline.ops.quantize import Quantize
from pipeline.ops.relu import Relu
from pipeline.ops.relu6 import Relu6
from pipeline.ops.reshape import Reshape
from pipeline.ops.softmax import Softmax


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


def onnx_pads(pads: Pads) -> list[int]:
    """(top, bottom, left, right) in ONNX's order: all begins, then all ends."""
    return [pads[0], pads[2], pads[1], pads[3]]


def _bias(op: Conv2d | DepthwiseConv2d | FullyConnected, w: Writer, shift: Array) -> list[str]:
    """The bias in units of the accumulator: input scale times weight scale. `shift` are the reference's, one a channel.

    The reference rounds twice: first to 2**shift, so that its results are on average half of that further from zero than
    ONNX Runtime's. Half of 2**shift is between half an accumulator unit and one: where a ReLU leaves only positive results,
    one unit more in the bias takes most of it away (measured: a third of the differing values is left).
    """
    x, weights, y = w.graph[op.inputs[0]], w.graph[op.inputs[1]], w.graph[op.output]
    assert weights.quant is not None  # the operators demand it
    scales = np.broadcast_to(np.float32(weights.quant.scale) * np.float32(x.scale), shift.shape).astype(np.float32)
    positive = clamp_range(op.activation, y)[0] >= y.zero_point
    return w.bias(op, op.bias, scales, ((shift < 0) & positive).astype(np.int32))


def _convolution(op: Conv2d | DepthwiseConv2d, w: Writer, weights: Array, group: int) -> None:
    """`weights` are ONNX's (O, C/groups, KH, KW)."""
    x, constant = w.graph[op.inputs[0]], w.graph[op.inputs[1]]
    _, shift = per_channel_requant(x, constant, w.graph[op.output], len(weights))
    inputs = [w.real(op.inputs[0], "nchw"), w.weights(op, op.inputs[1], weights), *_bias(op, w, shift)]
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


def fully_connected(op: FullyConnected, w: Writer) -> None:
    """Gemm, not MatMul: it takes the bias, and ONNX Runtime fuses it into one QGemm."""
    x, weights, y = w.graph[op.inputs[0]], w.graph[op.inputs[1]], w.graph[op.output]
    features, width = weights.shape
    rows = (x.size // width, width)
    source = w.real(op.inputs[0])
    if x.shape != rows:
        source = _reshaped(w, source, f"{op.output}/rows", rows)
    _, shift = fully_connected_requant(x, weights, y)
    inputs = [source, w.weights(op, op.inputs[1], w.graph.constant(op.inputs[1])), *_bias(op, w, shift)]
    value = w.node("Gemm", inputs, f"{op.output}/gemm", transB=1)
    if y.shape == (rows[0], features):
        w.store(value, op.output, "nhwc", op.activation)
    else:  # quantised first: ONNX Runtime fuses an operator with the quantise node right behind it
        flat = w.quantized(value, op.output, f"{op.output}/flat")
        w.keep(_reshaped(w, flat, f"{op.output}/shaped", y.shape), op.output, "nhwc", op.activation)


def _reshaped(w: Writer, value: str, name: str, shape: tuple[int, ...]) -> str:
    return w.node("Reshape", [value, w.constant(f"{name}/shape", np.array(shape, np.int64))], name)


def _elementwise_layout(op: Op, w: Writer) -> Layout:
    """NCHW when all are 4-D and one is so already; the graph's own when ONNX's broadcasting must see its axis order."""
    all_4d = all(len(w.graph[n].shape) == 4 for n in (*op.inputs, op.output))
    return "nchw" if all_4d and any(w.layout(n) == "nchw" for n in op.inputs) else "nhwc"


def add(op: Add, w: Writer) -> None:
    layout = _elementwise_layout(op, w)
    value = w.node("Add", [w.real(n, layout) for n in op.inputs], f"{op.output}/sum")
    w.store(value, op.output, layout, op.activation)


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


def max_pool2d(op: MaxPool2d, w: Writer) -> None:
    """On the stored values: order is all that counts, so no arithmetic is needed."""
    value = w.node(
        "MaxPool", [w.stored(op.inputs[0], "nchw")], f"{op.output}/max", kernel_shape=list(op.kernel),
        strides=list(op.stride), pads=onnx_pads(op.pads),
    )  # fmt: skip
    w.keep(value, op.output, "nchw", op.activation)


def mean(op: Mean, w: Writer) -> None:
    x, y = w.graph[op.inputs[0]], w.graph[op.output]
    if len(x.shape) == 4 and set(op.axes) == {1, 2}:
        value = w.node("GlobalAveragePool", [w.real(op.inputs[0], "nchw")], f"{op.output}/mean")
        if len(y.shape) == 4:
            w.store(value, op.output, "nchw")
            return
        # As in fully_connected: quantised before it is reshaped.
        pooled = w.quantized(value, op.output, f"{op.output}/pooled")
        flat = w.node("Transpose", [pooled], f"{pooled}/nhwc", perm=TO_NHWC)
        w.keep(_reshaped(w, flat, f"{op.output}/flat", y.shape), op.output)
        return
    keep = len(y.shape) == len(x.shape)
    w.store(
        w.node("ReduceMean", [w.real(op.inputs[0])], f"{op.output}/mean", axes=list(op.axes), keepdims=int(keep)), op.output
    )


def reshape(op: Reshape, w: Writer) -> None:
    value = _reshaped(w, w.stored(op.inputs[0]), f"{op.output}/reshaped", w.graph[op.output].shape)
    w.keep(value, op.output)


def pad(op: Pad, w: Writer) -> None:
    x = w.graph[op.inputs[0]]
    layout = w.layout(op.inputs[0]) if len(x.shape) == 4 else "nhwc"
    widths = [op.widths[i] for i in TO_NCHW] if layout == "nchw" else list(op.widths)
    pads = np.array([b for b, _ in widths] + [a for _, a in widths], np.int64)
    fill = w.fill(x, x.zero_point if op.value is None else op.value)
    names = [w.constant(f"{op.output}/pads", pads), w.constant(f"{op.output}/fill", fill)]
    w.keep(w.node("Pad", [w.stored(op.inputs[0], layout), *names], f"{op.output}/padded"), op.output, layout)


def softmax(op: Softmax, w: Writer) -> None:
    """beta goes into the scale that the input is dequantised with."""
    w.store(w.node("Softmax", [w.real(op.inputs[0], times=op.beta)], f"{op.output}/softmax", axis=-1), op.output)


def quantize(op: Quantize, w: Writer) -> None:
    w.store(w.real(op.inputs[0], w.layout(op.inputs[0])), op.output, w.layout(op.inputs[0]))


def relu(op: Relu, w: Writer) -> None:
    w.store(w.real(op.inputs[0], w.layout(op.inputs[0])), op.output, w.layout(op.inputs[0]), "relu")


def relu6(op: Relu6, w: Writer) -> None:
    w.keep(w.stored(op.inputs[0], w.layout(op.inputs[0])), op.output, w.layout(op.inputs[0]), "relu6")


NODES: Mapping[type[Op], Callable[[Any, Writer], None]] = {
    Add: add,
    AveragePool2d: average_pool2d,
    Conv2d: conv2d,
    DepthwiseConv2d: depthwise_conv2d,
    FullyConnected: fully_connected,
    MaxPool2d: max_pool2d,
    Mean: mean,
    Pad: pad,
    Quantize: quantize,
    Relu: relu,
    Relu6: relu6,
    Reshape: reshape,
    Softmax: softmax,
}
