"""The built-in networks as int8 graphs without torch and without training: their layers, random weights, fixed scales.

The same on every machine: the weights are bytes of PCG64, whose raw stream numpy never changes, and the scales come from
multiplications, divisions and square roots alone, which IEEE 754 rounds alike everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.ir import Array, Graph, Op, Quant, Tensor
from pipeline.ops._activation import Activation
from pipeline.ops._window import output_size, same_pads
from pipeline.ops.add import Add
from pipeline.ops.average_pool2d import AveragePool2d
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.fully_connected import FullyConnected
from pipeline.ops.max_pool2d import MaxPool2d
from pipeline.ops.reshape import Reshape

# How far values are from their zero point (root mean square), in steps: random bytes, outputs, and what a relu leaves.
RANDOM, SPREAD, RECTIFIED = 74, 40, 28
LOWEST, MIDDLE = -128, 3  # zero points: of what a relu has cut off, and of the rest

Size = tuple[int, int]


@dataclass
class Layers:
    """A graph in the making; every method appends a layer and returns its output's name."""

    name: str
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)

    def image(self, *shape: int) -> str:
        return self._tensor(Tensor((1, *shape), "int8", Quant((1 / 64,), 0)))

    def conv(self, x: str, channels: int, kernel: Size, stride: Size = (1, 1), activation: Activation = "relu") -> str:
        weights = (channels, *kernel, self.tensors[x].shape[3])
        return self._window(x, weights, 0, kernel, stride, activation)

    def depthwise(self, x: str, stride: int = 1) -> str:
        weights = (1, 3, 3, self.tensors[x].shape[3])
        return self._window(x, weights, 3, (3, 3), (stride, stride), "relu")

    def separable(self, x: str, channels: int, stride: int = 1) -> str:
        return self.conv(self.depthwise(x, stride), channels, (1, 1))

    def dense(self, x: str, outputs: int, activation: Activation = "none") -> str:
        inputs = self.tensors[x].shape[-1]
        operands, scale = self._weights(x, (outputs, inputs), 0, inputs)
        y = self._tensor(_activation((1, outputs), scale, activation))
        self.ops.append(FullyConnected(inputs=operands, outputs=(y,), activation=activation))
        return y

    def add(self, a: str, b: str) -> str:
        scale = (self.tensors[a].scale + self.tensors[b].scale) / 2
        y = self._tensor(_activation(self.tensors[a].shape, scale, "relu"))
        self.ops.append(Add(inputs=(a, b), outputs=(y,), activation="relu"))
        return y

    def pool(self, x: str, op: type[AveragePool2d] | type[MaxPool2d], kernel: Size) -> str:
        (_, h, w, c), quant = self.tensors[x].shape, self.tensors[x].quant
        y = self._tensor(Tensor((1, h // kernel[0], w // kernel[1], c), "int8", quant))
        self.ops.append(op(inputs=(x,), outputs=(y,), kernel=kernel, stride=kernel))
        return y

    def flat(self, x: str) -> str:
        y = self._tensor(Tensor((1, self.tensors[x].size), "int8", self.tensors[x].quant))
        self.ops.append(Reshape(inputs=(x,), outputs=(y,)))
        return y

    def averaged(self, x: str) -> str:
        """The mean of each channel, as a vector."""
        _, h, w, _ = self.tensors[x].shape
        return self.flat(self.pool(x, AveragePool2d, (h, w)))

    def graph(self, x: str, y: str) -> Graph:
        return Graph(self.name, self.tensors, tuple(self.ops), (x,), (y,)).checked()

    def _window(
        self, x: str, weights: tuple[int, ...], axis: int, kernel: Size, stride: Size, activation: Activation
    ) -> str:
        """A convolution along axis 0 of the weights, or a depthwise one along axis 3; padded as TensorFlow's SAME."""
        _, rows, columns, _ = self.tensors[x].shape
        pads = same_pads((rows, columns), kernel, stride)
        h, w = (
            output_size(rows, kernel[0], stride[0], 1, *pads[:2]),
            output_size(columns, kernel[1], stride[1], 1, *pads[2:]),
        )
        operands, scale = self._weights(x, weights, axis, math.prod(kernel) * (weights[3] if axis == 0 else 1))
        y = self._tensor(_activation((1, h, w, weights[axis]), scale, activation))
        op = Conv2d if axis == 0 else DepthwiseConv2d
        self.ops.append(op(inputs=operands, outputs=(y,), stride=stride, pads=pads, activation=activation))
        return y

    def _weights(self, x: str, shape: tuple[int, ...], axis: int, terms: int) -> tuple[tuple[str, str, str], float]:
        """(x, weights, biases) of sums of `terms` products, and the scale that suits them."""
        n, seed = shape[axis], len(self.tensors)
        scales = tuple((8 + i % 9) / 2048 for i in range(n))
        w = self._tensor(Tensor(shape, "int8", Quant(scales, 0, axis), random_bytes(shape, seed)))
        biases = random_bytes((n,), seed + 1).astype(np.int32) * 8
        x_scale = self.tensors[x].scale
        quant = Quant(tuple(x_scale * s for s in scales), 0, None if n == 1 else 0)
        b = self._tensor(Tensor((n,), "int32", quant, biases))
        values = RANDOM if seed == 1 else RECTIFIED
        return (x, w, b), x_scale * scales[n // 2] * RANDOM * values * math.sqrt(terms) / SPREAD

    def _tensor(self, tensor: Tensor) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = tensor
        return name


def random_bytes(shape: tuple[int, ...], seed: int) -> Array:
    """int8 numbers, -128 among them only where nothing forbids it: weights are symmetric, so it becomes -127."""
    n = math.prod(shape)
    words = np.random.PCG64(seed).random_raw(-(-n // 8)).astype("<u8")
    return np.maximum(words.view(np.int8)[:n], -127).reshape(shape)


def _activation(shape: tuple[int, ...], scale: float, activation: Activation) -> Tensor:
    return Tensor(shape, "int8", Quant((scale,), MIDDLE if activation == "none" else LOWEST))


def digits_cnn(n: Layers) -> Graph:
    image = n.image(8, 8, 1)
    x = n.separable(n.conv(image, 16, (3, 3)), 32)
    x = n.add(x, n.conv(x, 32, (3, 3), activation="none"))
    x = n.conv(n.pool(x, MaxPool2d, (2, 2)), 32, (3, 3))
    return n.graph(image, n.dense(n.flat(n.pool(x, AveragePool2d, (2, 2))), 10))


def resnet8(n: Layers) -> Graph:
    image = n.image(32, 32, 3)
    x = n.conv(image, 16, (3, 3))
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        shortcut = x if stride == 1 else n.conv(x, channels, (1, 1), (stride, stride), "none")
        inner = n.conv(n.conv(x, channels, (3, 3), (stride, stride)), channels, (3, 3), activation="none")
        x = n.add(shortcut, inner)
    return n.graph(image, n.dense(n.averaged(x), 10))


def ds_cnn(n: Layers) -> Graph:
    image = n.image(49, 10, 1)
    x = n.conv(image, 64, (10, 4), (2, 2))
    for _ in range(4):
        x = n.separable(x, 64)
    return n.graph(image, n.dense(n.averaged(x), 12))


def mobilenet_v1_025(n: Layers) -> Graph:
    image = n.image(96, 96, 3)
    x = n.conv(image, 8, (3, 3), (2, 2))
    for channels, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 5, (256, 2), (256, 1)):
        x = n.separable(x, channels, stride)
    return n.graph(image, n.dense(n.averaged(x), 2))


def fc_autoencoder(n: Layers) -> Graph:
    values = x = n.image(640)
    for outputs in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = n.dense(x, outputs, "relu")
    return n.graph(values, n.dense(x, 640))


def mlp(n: Layers) -> Graph:
    values = x = n.image(10)
    for outputs in (32, 32):
        x = n.dense(x, outputs, "relu")
    return n.graph(values, n.dense(x, 1))


_BUILDERS: tuple[Callable[[Layers], Graph], ...] = (digits_cnn, resnet8, ds_cnn, mobilenet_v1_025, fc_autoencoder, mlp)
NETWORKS: dict[str, Callable[[Layers], Graph]] = {f.__name__: f for f in _BUILDERS}


def network(name: str) -> Graph:
    return NETWORKS[name](Layers(name))
