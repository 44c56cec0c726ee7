"""One function per TFLite builtin: the file's operator to the graph's. `BUILTINS` is what the importer supports."""

from __future__ import annotations

from collections.abc import Callable

from ai_edge_litert import schema_py_generated as schema

from pipeline.importers.tflite import moves
from pipeline.importers.tflite.file import Options
from pipeline.importers.tflite.node import MAX_PADDED_BYTES, Node
from pipeline.ir import Op
from pipeline.ops._window import Pair, spatial
from pipeline.ops.add import Add
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.hard_swish import HardSwish
from pipeline.ops.leaky_relu import LeakyRelu
from pipeline.ops.logistic import Logistic
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.maximum import Maximum
from pipeline.ops.mean import Mean
from pipeline.ops.minimum import Minimum
from pipeline.ops.mul import Mul
from pipeline.ops.prelu import Prelu
from pipeline.ops.quantize import Quantize
from pipeline.ops.relu import Relu
from pipeline.ops.relu6 import Relu6
from pipeline.ops.softmax import Softmax
from pipeline.ops.sub import Sub
from pipeline.ops.tanh import Tanh
from pipeline.ops.transpose_conv import TransposeConv

Builtin = Callable[[Node], tuple[Op, ...]]


def _stride(o: Options) -> Pair:
    return o.integer("StrideH"), o.integer("StrideW")


def _dilation(o: Options) -> Pair:
    return o.integer("DilationHFactor"), o.integer("DilationWFactor")


def conv_2d(n: Node) -> tuple[Op, ...]:
    o = n.options("Conv2DOptions")
    x, w, stride, dilation = n.x(0, 4), n.x(1, 4), _stride(o), _dilation(o)
    pads = n.pads(o, x, spatial(w), stride, dilation)
    inputs = n.names(0, 1, bias=2)
    return (
        Conv2d(inputs=inputs, outputs=n.outputs, stride=stride, dilation=dilation, pads=pads, activation=n.activation(o)),
    )


def depthwise_conv_2d(n: Node) -> tuple[Op, ...]:
    o = n.options("DepthwiseConv2DOptions")
    x, w, stride, dilation = n.x(0, 4), n.x(1, 4), _stride(o), _dilation(o)
    # The options' depth multiplier is redundant, and some writers leave it at 0; one that contradicts the shapes is followed
    # by TFLM, but not by LiteRT.
    multiplier, channels = o.integer("DepthMultiplier"), n.y(4).shape[3]
    if multiplier and multiplier * x.shape[3] != channels:
        raise n.fail(
            f"its depth multiplier {multiplier} makes {multiplier * x.shape[3]} channels of {x.shape[3]}, but the declared "
            f"output has {channels}; the file is damaged, convert the model anew"
        )
    pads = n.pads(o, x, spatial(w), stride, dilation)
    inputs = n.names(0, 1, bias=2)
    return (
        DepthwiseConv2d(
            inputs=inputs, outputs=n.outputs, stride=stride, dilation=dilation, pads=pads, activation=n.activation(o)
        ),
    )


def fully_connected(n: Node) -> tuple[Op, ...]:
    o = n.options("FullyConnectedOptions")
    weights_format = o.member("WeightsFormat", schema.FullyConnectedOptionsWeightsFormat)
    if weights_format != "DEFAULT":
        raise n.fail(f"weights are stored as {weights_format}; only the default layout is supported")
    x, (units, width), keep = n.x(), n.x(1, 2).shape, bool(o["KeepNumDims"])
    rows = x.shape[:-1] if keep else (x.size // width,)
    n.expect_shape((*rows, units), f"shape with keep_num_dims {str(keep).lower()}")
    return (FullyConnected(inputs=n.names(0, 1, bias=2), outputs=n.outputs, activation=n.activation(o)),)


def pool_2d(n: Node) -> tuple[Op, ...]:
    o = n.options("Pool2DOptions")
    kernel, stride = (o.integer("FilterHeight"), o.integer("FilterWidth")), _stride(o)
    pads = n.pads(o, n.x(0, 4), kernel, stride)
    pool = AveragePool2d if n.operator.builtin == "AVERAGE_POOL_2D" else MaxPool2d
    return (pool(inputs=n.names(0), outputs=n.outputs, kernel=kernel, stride=stride, pads=pads, activation=n.activation(o)),)


def transpose_conv(n: Node) -> tuple[Op, ...]:
    """Inputs: the output's shape, the weights, x, the bias. Padding is reckoned as if the output were the image."""
    o = n.options("TransposeConvOptions")
    y, stride = n.y(4), _stride(o)
    kernel, x = spatial(n.x(1, 4)), spatial(n.x(2, 4))
    top, _, left, _ = n.pads(o, y, kernel, stride)
    n.expect_shape(n.constant(0, "the output's shape").reshape(-1)[:8].tolist(), "output shape")
    full = [(x[i] - 1) * stride[i] + kernel[i] for i in (0, 1)]
    if full[0] * full[1] * y.shape[3] > MAX_PADDED_BYTES:
        raise n.fail(f"input {n.x(2).shape} and stride {stride} make {full[0]} rows of {full[1]}, far beyond {y.shape}")
    inputs = n.names(2, 1, bias=3)
    return (TransposeConv(inputs=inputs, outputs=n.outputs, stride=stride, crop=(top, left), activation=n.activation(o)),)


def arithmetic(operator: type[Add | Sub | Mul], options: str) -> Builtin:
    return lambda n: (operator(inputs=n.names(0, 1), outputs=n.outputs, activation=n.activation(n.options(options))),)


def leaky_relu(n: Node) -> tuple[Op, ...]:
    return (LeakyRelu(inputs=n.names(0), outputs=n.outputs, alpha=float(n.options("LeakyReluOptions")["Alpha"])),)


def mean(n: Node) -> tuple[Op, ...]:
    shape, keep = n.x().shape, bool(n.options("ReducerOptions")["KeepDims"])
    axes = n.axes(1, len(shape))
    left = [1 if i in axes else s for i, s in enumerate(shape) if keep or i not in axes]
    n.expect_shape(left, f"shape {'with' if keep else 'without'} the axes {axes}, as its option keep_dims says,")
    return (Mean(inputs=n.names(0), outputs=n.outputs, axes=axes),)


def softmax(n: Node) -> tuple[Op, ...]:
    return (Softmax(inputs=n.names(0), outputs=n.outputs, beta=float(n.options("SoftmaxOptions")["Beta"])),)


def plain(operator: type[Op], inputs: int = 1) -> Builtin:
    """Operators whose tensors say everything."""
    return lambda n: (operator(inputs=n.names(*range(inputs)), outputs=n.outputs),)


BUILTINS: dict[str, Builtin] = {
    "ADD": arithmetic(Add, "AddOptions"),
    "AVERAGE_POOL_2D": pool_2d,
    "CONCATENATION": moves.concatenation,
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "EXPAND_DIMS": moves.expand_dims,
    "FULLY_CONNECTED": fully_connected,
    "HARD_SWISH": plain(HardSwish),
    "LEAKY_RELU": leaky_relu,
    "LOGISTIC": plain(Logistic),
    "MAXIMUM": plain(Maximum, 2),
    "MAX_POOL_2D": pool_2d,
    "MEAN": mean,
    "MINIMUM": plain(Minimum, 2),
    "MUL": arithmetic(Mul, "MulOptions"),
    "PAD": moves.pad,
    "PADV2": moves.pad,
    "PRELU": plain(Prelu, 2),
    "QUANTIZE": plain(Quantize),
    "RELU": plain(Relu),
    "RELU6": plain(Relu6),
    "RESHAPE": moves.reshape,
    "RESIZE_NEAREST_NEIGHBOR": moves.resize_nearest_neighbor,
    "SLICE": moves.slice_,
    "SOFTMAX": softmax,
    "SPLIT": moves.split,
    "SPLIT_V": moves.split,
    "SQUEEZE": moves.squeeze,
    "STRIDED_SLICE": moves.strided_slice,
    "SUB": arithmetic(Sub, "SubOptions"),
    "TANH": plain(Tanh),
    "TILE": moves.tile,
    "TRANSPOSE": moves.transpose,
    "TRANSPOSE_CONV": transpose_conv,
}
