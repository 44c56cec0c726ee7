"""Small int8 graphs built by hand, for tests of everything that comes after quantisation."""

from __future__ import annotations

import numpy as np

from pipeline.ir import Array, Graph, Quant, Tensor
from pipeline.ops.add import Add
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.relu import Relu
from pipeline.ops.reshape import Reshape
from pipeline.ops.softmax import Softmax


def activation(*shape: int, scale: float = 0.05, zero: int = -5) -> Tensor:
    return Tensor(shape, "int8", Quant((scale,), zero))


def weights(rng: np.random.Generator, *shape: int, axis: int | None = 0) -> Tensor:
    scales = tuple(rng.uniform(0.004, 0.02, shape[axis]).tolist()) if axis is not None else (0.01,)
    return Tensor(shape, "int8", Quant(scales, 0, axis), rng.integers(-127, 128, shape).astype(np.int8))


def bias(rng: np.random.Generator, n: int) -> Tensor:
    return Tensor((n,), "int32", None, rng.integers(-600, 600, n).astype(np.int32))


def small_cnn(name: str = "small_cnn") -> Graph:
    """8x8x1 -> conv -> depthwise -> 1x1 -> residual add -> pool -> 10 probabilities."""
    rng = np.random.default_rng(1)
    tensors = {
        "image": activation(1, 8, 8, 1, scale=1 / 16, zero=-128),
        "stem.w": weights(rng, 8, 3, 3, 1), "stem.b": bias(rng, 8), "stem": activation(1, 8, 8, 8, zero=-128),
        "dw.w": weights(rng, 1, 3, 3, 8, axis=3), "dw.b": bias(rng, 8), "dw": activation(1, 8, 8, 8, scale=0.08, zero=-128),
        "pw.w": weights(rng, 8, 1, 1, 8), "pw.b": bias(rng, 8), "pw": activation(1, 8, 8, 8, scale=0.1, zero=3),
        "sum": activation(1, 8, 8, 8, scale=0.12, zero=-20),
        "pooled": activation(1, 1, 1, 8, scale=0.12, zero=-20), "flat": activation(1, 8, scale=0.12, zero=-20),
        "head.w": weights(rng, 10, 8, axis=None), "head.b": bias(rng, 10), "logits": activation(1, 10, scale=0.02, zero=7),
        "probabilities": activation(1, 10, scale=1 / 256, zero=-128),
    }  # fmt: skip
    ops = (
        Conv2d(inputs=("image", "stem.w", "stem.b"), outputs=("stem",), pads=(1, 1, 1, 1), activation="relu"),
        DepthwiseConv2d(inputs=("stem", "dw.w", "dw.b"), outputs=("dw",), pads=(1, 1, 1, 1), activation="relu"),
        Conv2d(inputs=("dw", "pw.w", "pw.b"), outputs=("pw",)),
        Add(inputs=("stem", "pw"), outputs=("sum",)),
        AveragePool2d(inputs=("sum",), outputs=("pooled",), kernel=(8, 8)),
        Reshape(inputs=("pooled",), outputs=("flat",)),
        FullyConnected(inputs=("flat", "head.w", "head.b"), outputs=("logits",)),
        Softmax(inputs=("logits",), outputs=("probabilities",)),
    )
    return Graph(name, tensors, ops, ("image",), ("probabilities",)).checked()


def two_inputs(name: str = "two_inputs") -> Graph:
    """Two inputs, two outputs, and names that C can not take as they are."""
    left, right, total, positive = "a/left", "a.left", 'the "sum" */ of??/both', "positive\\"
    tensors = {
        left: activation(1, 3, 4, 2, scale=0.02, zero=4),
        right: activation(1, 3, 4, 2, scale=0.03, zero=-9),
        total: activation(1, 3, 4, 2, scale=0.04, zero=1),
        positive: activation(1, 3, 4, 2, scale=0.04, zero=1),
    }
    ops = (Add(inputs=(left, right), outputs=(total,)), Relu(inputs=(total,), outputs=(positive,)))
    return Graph(name, tensors, ops, (left, right), (total, positive)).checked()


def strided(name: str = "strided") -> Graph:
    """One convolution whose padding TFLite can only express with a PAD operator, and without a bias."""
    rng = np.random.default_rng(2)
    tensors = {"x": activation(1, 8, 8, 2), "w": weights(rng, 4, 3, 3, 2, axis=None), "y": activation(1, 4, 4, 4, zero=3)}
    op = Conv2d(inputs=("x", "w"), outputs=("y",), stride=(2, 2), pads=(1, 1, 1, 1))
    return Graph(name, tensors, (op,), ("x",), ("y",)).checked()


def random_inputs(graph: Graph, n: int, seed: int = 0) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(-128, 128, (n, *graph[name].shape)).astype(np.int8) for name in graph.inputs)
