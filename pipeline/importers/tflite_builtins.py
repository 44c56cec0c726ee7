"""One function per TFLite builtin: the file's operator to the graph's. `BUILTINS` is what the importer supports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import GraphError
from pipeline.importers.tflite_file import FileOperator, Options
from pipeline.ir import Array, Op, Tensor
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation
from pipeline.ops._window import Pads, Pair, same_pads, spatial
from pipeline.ops.add import Add
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.mean import Mean
from pipeline.ops.pad import Pad
from pipeline.ops.quantize import Quantize
from pipeline.ops.relu import Relu
from pipeline.ops.relu6 import Relu6
from pipeline.ops.reshape import Reshape
from pipeline.ops.softmax import Softmax

MAX_PADDED_BYTES = 64 << 20
ACTIVATIONS: dict[str, Activation] = {tflite: ours for ours, tflite in TFLITE_ACTIVATION.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator of the file with its tensors. An input left out is None."""

    operator: FileOperator
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]

    def fail(self, message: str) -> GraphError:
        return GraphError(f"{self.operator.where}: {message}")

    def name(self, i: int) -> str:
        """Input i, which must be there."""
        name = self.inputs[i] if i < len(self.inputs) else None
        if name is None:
            raise self.fail(f"input {i} is missing")
        return name

    def names(self, *required: int, optional: int | None = None) -> tuple[str, ...]:
        """The required inputs, then the optional one where it is given."""
        given = tuple(self.name(i) for i in required)
        extra = self.inputs[optional] if optional is not None and optional < len(self.inputs) else None
        return (*given, extra) if extra is not None else given

    def x(self, i: int = 0, rank: int | None = None) -> Tensor:
        """Input i's tensor, of `rank` dimensions where that is given."""
        tensor = self.tensors[self.name(i)]
        if rank is not None and len(tensor.shape) != rank:
            raise self.fail(f"{self.name(i)!r} must have {rank} dimensions, it has shape {tensor.shape}")
        return tensor

    def constant(self, i: int, what: str) -> Array:
        """Input i's values, an integer constant."""
        data = self.x(i).data
        if data is None or data.dtype.kind != "i":
            raise self.fail(
                f"{what} ({self.name(i)!r}) must be an integer constant; values computed at run time are not supported"
            )
        return data

    def axes(self, i: int, rank: int) -> tuple[int, ...]:
        """Input i as axes of a tensor of `rank` dimensions, counted from the front."""
        axes = tuple(int(a) for a in self.constant(i, "the axes").reshape(-1)[:8])
        if any(not -rank <= a < rank for a in axes):
            raise self.fail(f"axes {axes} do not exist in a tensor of {rank} dimensions")
        return tuple(a % rank for a in axes)

    def options(self, kind: str) -> Options:
        return self.operator.options(kind)

    def activation(self, options: Options) -> Activation:
        name = options.member("FusedActivationFunction", schema.ActivationFunctionType)
        if name not in ACTIVATIONS:
            raise self.fail(f"fused activation {name} has no int8 form; supported are {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[name]

    def pads(self, options: Options, x: Tensor, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pads:
        if min(*kernel, *stride, *dilation) < 1:
            raise self.fail(f"kernel {kernel}, stride {stride} and dilation {dilation} must be positive")
        if options.member("Padding", schema.Padding) == "VALID":
            return 0, 0, 0, 0
        pads = same_pads(spatial(x), kernel, stride, dilation)
        height, width = x.shape[1] + pads[0] + pads[1], x.shape[2] + pads[2] + pads[3]
        if height * width * x.shape[3] > MAX_PADDED_BYTES:
            raise self.fail(f"kernel {kernel} with dilation {dilation} pads the input {x.shape} to {height} by {width}")
        return pads


def _stride(o: Options) -> Pair:
    return o.integer("StrideH"), o.integer("StrideW")


def _dilation(o: Options) -> Pair:
    return o.integer("DilationHFactor"), o.integer("DilationWFactor")


def conv_2d(n: Node) -> tuple[Op, ...]:
    o = n.options("Conv2DOptions")
    x, w, stride, dilation = n.x(0, 4), n.x(1, 4), _stride(o), _dilation(o)
    pads = n.pads(o, x, spatial(w), stride, dilation)
    inputs = n.names(0, 1, optional=2)
    return (
        Conv2d(inputs=inputs, outputs=n.outputs, stride=stride, dilation=dilation, pads=pads, activation=n.activation(o)),
    )


def depthwise_conv_2d(n: Node) -> tuple[Op, ...]:
    o = n.options("DepthwiseConv2DOptions")
    x, w, stride, dilation = n.x(0, 4), n.x(1, 4), _stride(o), _dilation(o)
    # The options' depth multiplier is redundant (TFLite takes it from the shapes), and some writers leave it at 0.
    pads = n.pads(o, x, spatial(w), stride, dilation)
    inputs = n.names(0, 1, optional=2)
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
    return (FullyConnected(inputs=n.names(0, 1, optional=2), outputs=n.outputs, activation=n.activation(o)),)


def pool_2d(n: Node) -> tuple[Op, ...]:
    o = n.options("Pool2DOptions")
    kernel, stride = (o.integer("FilterHeight"), o.integer("FilterWidth")), _stride(o)
    pads = n.pads(o, n.x(0, 4), kernel, stride)
    pool = AveragePool2d if n.operator.builtin == "AVERAGE_POOL_2D" else MaxPool2d
    return (pool(inputs=n.names(0), outputs=n.outputs, kernel=kernel, stride=stride, pads=pads, activation=n.activation(o)),)


def add(n: Node) -> tuple[Op, ...]:
    return (Add(inputs=n.names(0, 1), outputs=n.outputs, activation=n.activation(n.options("AddOptions"))),)


def mean(n: Node) -> tuple[Op, ...]:
    return (Mean(inputs=n.names(0), outputs=n.outputs, axes=n.axes(1, len(n.x().shape))),)


def pad(n: Node) -> tuple[Op, ...]:
    widths = n.constant(1, "the padding widths")
    if widths.shape != (len(n.x().shape), 2):
        raise n.fail(f"padding widths of shape {widths.shape} do not fit the input's shape {n.x().shape}")
    value = None
    if n.operator.builtin == "PADV2":
        fill = n.constant(2, "the fill value")
        if fill.size != 1 or n.x(2).dtype != "int8" or n.x(2).quant != n.x().quant:
            raise n.fail(f"the fill value {n.name(2)!r} must be one int8 value, quantised as the input is")
        value = int(fill.reshape(-1)[0])
    pairs = tuple((int(before), int(after)) for before, after in widths)
    return (Pad(inputs=n.names(0), outputs=n.outputs, widths=pairs, value=value),)


def reshape(n: Node) -> tuple[Op, ...]:
    """The target shape may come as tensor, as option, or not at all: the output's own shape says it."""
    return (Reshape(inputs=n.names(0), outputs=n.outputs),)


def softmax(n: Node) -> tuple[Op, ...]:
    return (Softmax(inputs=n.names(0), outputs=n.outputs, beta=float(n.options("SoftmaxOptions")["Beta"])),)


def one_input(operator: type[Op]) -> Callable[[Node], tuple[Op, ...]]:
    """Operators whose tensors say everything."""
    return lambda n: (operator(inputs=n.names(0), outputs=n.outputs),)


BUILTINS: dict[str, Callable[[Node], tuple[Op, ...]]] = {
    "ADD": add,
    "AVERAGE_POOL_2D": pool_2d,
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "EXPAND_DIMS": reshape,
    "FULLY_CONNECTED": fully_connected,
    "MAX_POOL_2D": pool_2d,
    "MEAN": mean,
    "PAD": pad,
    "PADV2": pad,
    "QUANTIZE": one_input(Quantize),
    "RELU": one_input(Relu),
    "RELU6": one_input(Relu6),
    "RESHAPE": reshape,
    "SOFTMAX": softmax,
    "SQUEEZE": reshape,
}
