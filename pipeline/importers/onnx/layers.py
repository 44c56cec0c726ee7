"""ONNX nodes with weights, pools and means."""

from __future__ import annotations

from typing import Any

from pipeline.importers.layout import Axes, channels_last, plain
from pipeline.importers.onnx.builder import OnnxBuilder
from pipeline.importers.onnx.file import OnnxNode
from pipeline.importers.stored import Value
from pipeline.ir import Op, Quant
from pipeline.ops._window import Pads, Pair, same_pads
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.mean import Mean
from pipeline.ops.pad import Pad
from pipeline.ops.softmax import Softmax
from pipeline.ops.transpose_conv import TransposeConv

MAX_SIZE = 1 << 16


def _pair(n: OnnxNode, name: str, rank: int, default: int = 1) -> Pair:
    """A spatial attribute; one-dimensional operators become two-dimensional ones of height 1."""
    values = n.integers(name, [default] * rank)
    if (
        not isinstance(values, list)
        or len(values) != rank
        or not all(isinstance(v, int) and 1 <= v <= MAX_SIZE for v in values)
    ):
        raise n.fail(f"{name} = {values} must be {rank} integers from 1 to {MAX_SIZE}")
    return (values[0], values[1]) if rank == 2 else (1, values[0])


def _image(b: OnnxBuilder, n: OnnxNode) -> tuple[Value, str, Pair, int]:
    """(input 0, the tensor (1, H, W, C), (H, W), spatial rank) of an activation (N, C, H, W) or (N, C, L)."""
    x = b.value(n, 0)
    if len(x.shape) not in (3, 4):
        raise n.fail(f"its input has shape {x.shape}; one or two spatial dimensions are supported")
    return x, *b.image(x), len(x.shape) - 2


def _emit_image(
    b: OnnxBuilder, n: OnnxNode, cls: type[Op], inputs: tuple[str, ...], size: Pair, channels: int, rank: int, **more: Any
) -> None:
    if min(size) < 1:
        raise n.fail(f"its window is larger than the padded input; the result would have size {size}")
    space = size if rank == 2 else size[1:]
    b.emit(n, cls, inputs, (1, channels, *space), channels_last(rank + 2), stored=(1, *size, channels), **more)


def _pads(n: OnnxNode, rank: int, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Pads:
    auto = n.word("auto_pad", "NOTSET")
    if auto == "VALID":
        return 0, 0, 0, 0
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        top, bottom, left, right = same_pads(size, kernel, stride, dilation)
        return (top, bottom, left, right) if auto == "SAME_UPPER" else (bottom, top, right, left)
    given = n.integers("pads", [0] * (2 * rank))
    fits = len(given) == 2 * rank and all(0 <= p <= MAX_SIZE for p in given)
    if auto != "NOTSET" or not fits:
        raise n.fail(f"auto_pad {auto!r} and pads {given} are not understood; pads must be {2 * rank} integers from 0 on")
    if rank == 1:
        return 0, 0, given[0], given[1]
    return given[0], given[2], given[1], given[3]


def _out(size: Pair, kernel: Pair, stride: Pair, dilation: Pair, pads: Pads) -> Pair:
    ends = ((pads[0], pads[1]), (pads[2], pads[3]))
    out = [(size[i] + sum(ends[i]) - (kernel[i] - 1) * dilation[i] - 1) // stride[i] + 1 for i in (0, 1)]
    return out[0], out[1]


def conv(b: OnnxBuilder, n: OnnxNode) -> None:
    """Weights OIHW -> OHWI, or 1HWC when every group is one input channel."""
    x, name, size, rank = _image(b, n)
    w, scales = b.weights(n, 1, channel_axis=0)
    channels, groups = x.shape[1], n.integer("group", 1)
    if w.ndim != rank + 2 or groups < 1 or w.shape[1] * groups != channels or w.shape[0] % groups or min(w.shape) < 1:
        raise n.fail(f"weights {w.shape} and {groups} groups do not fit the input {x.shape}")
    bias = b.bias(n, 2, x, scales, w.shape[0])
    w = w[:, :, None, :] if rank == 1 else w
    kernel, stride, dilation = (w.shape[2], w.shape[3]), _pair(n, "strides", rank), _pair(n, "dilations", rank)
    pads = _pads(n, rank, size, kernel, stride, dilation)
    out = _out(size, kernel, stride, dilation, pads)
    window = {"stride": stride, "dilation": dilation, "pads": pads, "clamps": True}
    if 1 < groups == channels:
        names = b.add_weights(n, w.transpose(1, 2, 3, 0), scales, 3, bias, x)
        _emit_image(b, n, DepthwiseConv2d, (name, *names), out, w.shape[0], rank, **window)
    else:
        names = b.add_weights(n, w.transpose(0, 2, 3, 1), scales, 0, bias, x)
        _emit_image(b, n, Conv2d, (name, *names), out, w.shape[0], rank, **window)


def conv_transpose(b: OnnxBuilder, n: OnnxNode) -> None:
    """Weights IOHW -> OHWI; ONNX's pads are the crop."""
    x, name, size, rank = _image(b, n)
    w, scales = b.weights(n, 1, channel_axis=1)
    if w.ndim != rank + 2 or w.shape[0] != x.shape[1] or n.integer("group", 1) != 1 or min(w.shape) < 1:
        raise n.fail(f"weights {w.shape} do not fit the input {x.shape}; it has an int8 form without groups only")
    if _pair(n, "dilations", rank) != (1, 1) or n.word("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise n.fail("a transposed convolution has an int8 form without dilation and automatic padding only")
    bias = b.bias(n, 2, x, scales, w.shape[1])
    w = w[:, :, None, :] if rank == 1 else w
    kernel, stride = (w.shape[2], w.shape[3]), _pair(n, "strides", rank)
    pads = _pads(n, rank, size, kernel, stride, (1, 1))
    extra = [0] * (2 - rank) + n.integers("output_padding", [0] * rank)[:rank]
    if "output_shape" in n.attributes or len(extra) != 2 or not all(0 <= extra[i] < stride[i] for i in (0, 1)):
        raise n.fail("its output must be given by pads and output_padding")
    ends = ((pads[0], pads[1]), (pads[2], pads[3]))
    out = [(size[i] - 1) * stride[i] + kernel[i] - sum(ends[i]) + extra[i] for i in (0, 1)]
    names = b.add_weights(n, w.transpose(1, 2, 3, 0), scales, 0, bias, x)
    window = {"stride": stride, "crop": (pads[0], pads[2]), "clamps": True}
    _emit_image(b, n, TransposeConv, (name, *names), (out[0], out[1]), w.shape[1], rank, **window)


def gemm(b: OnnxBuilder, n: OnnxNode) -> None:
    if n.number("alpha", 1.0) != 1.0 or n.number("beta", 1.0) != 1.0 or n.integer("transA", 0):
        raise n.fail("alpha, beta and transA have no int8 form; fold them into the weights")
    transposed = bool(n.integer("transB", 0))
    w, scales = b.weights(n, 1, channel_axis=0 if transposed else 1)
    _dense(b, n, w if transposed else w.T, scales, bias=2)


def matmul(b: OnnxBuilder, n: OnnxNode) -> None:
    if n.inputs[1:2] and n.inputs[1] in b.values:
        raise n.fail("multiplies two activations (attention), which has no int8 form")
    w, scales = b.weights(n, 1, channel_axis=1)
    _dense(b, n, w.T, scales, bias=None)


def _dense(b: OnnxBuilder, n: OnnxNode, w: Any, scales: Any, bias: int | None) -> None:
    """Over the last axis. An image flattened as it is stored is met by weights in that order."""
    x = b.value(n, 0)
    if w.ndim != 2 or len(x.shape) < 2 or x.shape[-1] != w.shape[1] or min(w.shape) < 1:
        raise n.fail(f"weights {w.T.shape} do not fit the input {x.shape}")
    if x.flat is not None:
        w = w[:, x.columns]
    else:
        x = b.stored_as(x, plain(len(x.shape)))
    units = b.bias(n, bias, x, scales, w.shape[0]) if bias is not None else None
    names = b.add_weights(n, w, scales, 0, units, x)
    shape = (*x.shape[:-1], w.shape[0])
    b.emit(n, FullyConnected, (x.name, *names), shape, plain(len(shape)), clamps=True)


def max_pool(b: OnnxBuilder, n: OnnxNode) -> None:
    _pool(b, n, MaxPool2d)


def average_pool(b: OnnxBuilder, n: OnnxNode) -> None:
    _pool(b, n, AveragePool2d)


def _pool(b: OnnxBuilder, n: OnnxNode, cls: type[Op]) -> None:
    x, name, size, rank = _image(b, n)
    kernel, stride = _pair(n, "kernel_shape", rank, 0), _pair(n, "strides", rank)
    if _pair(n, "dilations", rank) != (1, 1) or len(n.outputs) > 1:
        raise n.fail("pooling has an int8 form without dilation and without indices only")
    top, bottom, left, right = _pads(n, rank, size, kernel, stride, (1, 1))
    if cls is AveragePool2d and n.integer("count_include_pad", 0) and (top or bottom or left or right):
        widths = ((0, 0), (top, bottom), (left, right), (0, 0))
        size = (size[0] + top + bottom, size[1] + left + right)
        shape = (1, *size, x.shape[1])
        name = b.write(Pad, (name,), shape, b.quant_of(x), f"{b.label(n)}.padded", widths=widths)
        top = bottom = left = right = 0
    if n.integer("ceil_mode", 0):
        ceil = [-(-(size[i] + p - kernel[i]) // stride[i]) for i, p in ((0, top + bottom), (1, left + right))]
        # A last window that would start in the padding is left out.
        ceil = [c - (c * stride[i] >= size[i] + p) for i, (c, p) in enumerate(zip(ceil, (top, left), strict=True))]
        bottom = max(bottom, ceil[0] * stride[0] + kernel[0] - size[0] - top)
        right = max(right, ceil[1] * stride[1] + kernel[1] - size[1] - left)
    pads = (top, bottom, left, right)
    out = _out(size, kernel, stride, (1, 1), pads)
    _emit_image(b, n, cls, (name,), out, x.shape[1], rank, quant=b.quant_of(x), kernel=kernel, stride=stride, pads=pads)


def global_average_pool(b: OnnxBuilder, n: OnnxNode) -> None:
    x, name, _, rank = _image(b, n)
    _emit_image(b, n, Mean, (name,), (1, 1), x.shape[1], rank, axes=(1, 2))


def global_max_pool(b: OnnxBuilder, n: OnnxNode) -> None:
    x, name, size, rank = _image(b, n)
    _emit_image(b, n, MaxPool2d, (name,), (1, 1), x.shape[1], rank, quant=b.quant_of(x), kernel=size, stride=size)


def reduce_mean(b: OnnxBuilder, n: OnnxNode) -> None:
    x = b.unflattened(b.value(n, 0))
    rank = len(x.shape)
    given, keep = b.ints(n, 1, "axes"), n.integer("keepdims", 1)
    if not given and n.integer("noop_with_empty_axes", 0):
        b.values[n.outputs[0]] = x
        return
    axes = given or list(range(1 if keep else 0, rank))  # a batch of one that is kept is its own mean
    if not axes or any(not -rank <= a < rank for a in axes) or len({a % rank for a in axes}) < len(axes):
        raise n.fail(f"axes {axes} do not exist in the input {x.shape}")
    axes = [a % rank for a in axes]
    ones = tuple(1 if i in axes else s for i, s in enumerate(x.shape))
    at = tuple(sorted(x.order.index(a) for a in axes))
    if keep:
        b.emit(n, Mean, (x.name,), ones, x.order, axes=at)
        return
    kept = [i for i in range(rank) if i not in axes]
    order: Axes = tuple(kept.index(i) for i in x.order if i in kept)
    b.emit(n, Mean, (x.name,), tuple(x.shape[i] for i in kept), order, axes=at)


def softmax(b: OnnxBuilder, n: OnnxNode) -> None:
    """Its results are multiples of 1/256, whatever (close to that) the file says."""
    x = b.unflattened(b.value(n, 0))
    rank = len(x.shape)
    axis = n.integer("axis", -1 if b.file.opset >= 13 else 1)
    if rank == 0 or not -rank <= axis < rank or (b.file.opset < 13 and axis % rank != rank - 1 and rank != 2):
        raise n.fail(f"axis {axis} of the input {x.shape} is not supported; softmax is over one axis")
    axis %= rank
    if x.order[-1] != axis:
        x = b.stored_as(x, (*(i for i in range(rank) if i != axis), axis))
    if b.quant(n.outputs[0]) is None:
        raise n.fail(f"its result {n.outputs[0]!r} is not quantised")
    b.emit(n, Softmax, (x.name,), x.shape, x.order, quant=Quant((1 / 256,), -128))
    b.fixed.add(b.values[n.outputs[0]].name)
