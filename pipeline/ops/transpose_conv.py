"""Transposed 2-D convolution, int8, per-channel weight scales: TFLite's TRANSPOSE_CONV."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import integer_matmul
from pipeline.ir import Array, Graph, Tensor, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._activation import TFLITE_ACTIVATION
from pipeline.ops._checks import expect_int8, expect_rank
from pipeline.ops._convolution import Weighted
from pipeline.ops._onnx import OnnxWriter
from pipeline.ops._window import Pair, same_pads, spatial, window_params


@dataclass(frozen=True, kw_only=True)
class TransposeConv(Weighted):
    """Each input value adds its patch of weights to the output. inputs: x (1,H,W,C), w (O,KH,KW,C), [bias (O,)].

    Input row r, kernel row i add to output row r * stride + i - crop; what falls outside the output, whose shape says its
    size, is dropped, and what nothing is added to is the bias. torch's padding is the crop; its output padding shows in the
    output's size. TFLite has neither dilation nor groups here.
    """

    rounding = "requant"

    stride: Pair = (1, 1)
    crop: Pair = (0, 0)  # rows at the top, columns at the left

    def check(self, graph: Graph) -> None:
        x, w, y = (graph[n] for n in (*self.inputs[:2], self.output))
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_rank(self, graph, 4, *self.inputs[:2], self.output)
        if min(self.stride) < 1 or min(self.crop) < 0:
            raise self.fail(f"stride {self.stride} must be positive, crop {self.crop} not negative")
        if w.shape[3] != x.shape[3] or y.shape != (x.shape[0], *spatial(y), w.shape[0]) or x.shape[0] != 1:
            raise self.fail(f"weights {w.shape} do not turn input {x.shape} into output {y.shape}")
        self.check_weights(graph)

    def _full(self, graph: Graph) -> Pair:
        """(height, width) of all that is added up, uncropped."""
        x, w = spatial(graph[self.inputs[0]]), spatial(graph[self.inputs[1]])
        return (x[0] - 1) * self.stride[0] + w[0], (x[1] - 1) * self.stride[1] + w[1]

    def sums(self, graph: Graph, x: Array, w: Array) -> Array:
        tx, y = graph[self.inputs[0]], graph[self.output]
        (h, v), (top, left), (sh, sw) = spatial(y), self.crop, self.stride
        size = tuple(max(full, c + s) for full, c, s in zip(self._full(graph), self.crop, (h, v), strict=True))
        acc = np.zeros((len(x), 1, *size, y.shape[3]), np.int64)
        centred = x.astype(np.int64) - tx.zero_point
        for i in range(w.shape[1]):
            for j in range(w.shape[2]):
                rows, cols = slice(i, i + (tx.shape[1] - 1) * sh + 1, sh), slice(j, j + (tx.shape[2] - 1) * sw + 1, sw)
                acc[:, :, rows, cols] += integer_matmul(centred, w[:, i, j, :].T)
        return acc[:, :, top : top + h, left : left + v]

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, w, y = graph[self.inputs[0]], graph[self.inputs[1]], graph[self.output]
        pads = (self.crop[0], 0, self.crop[1], 0)
        window = window_params(x, y, spatial(w), self.stride, (1, 1), pads)
        params = {"window": window, "weights": self.weight_params(graph)}
        return (Kernel("transpose_conv_s8", params, self.inputs[:1], self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        x, y, kernel = spatial(graph[self.inputs[0]]), graph[self.output], spatial(graph[self.inputs[1]])
        # TFLite takes the output for the image of a convolution, whose size and padding must give the input.
        same = same_pads(spatial(y), kernel, self.stride)
        if self.crop == (same[0], same[2]) and x == tuple(-(-n // s) for n, s in zip(spatial(y), self.stride, strict=True)):
            return (self._node(y.shape, self.output, "SAME"),)
        if self.crop == (0, 0):
            return (self._node(y.shape, self.output, "VALID"),)
        uncropped = f"{self.output}/uncropped"
        shape = (1, *(max(f, c + s) for f, c, s in zip(self._full(graph), self.crop, spatial(y), strict=True)), y.shape[3])
        begin, size = np.array((0, *self.crop, 0), np.int32), np.array(y.shape, np.int32)
        temps = {uncropped: Tensor(shape, "int8", y.quant)}
        cut = TfliteNode("SLICE", (uncropped, begin, size), self.outputs, "SliceOptions", version=2, temps=temps)
        return self._node(shape, uncropped, "VALID"), cut

    def _node(self, shape: tuple[int, ...], target: str, padding: str) -> TfliteNode:
        attributes = {
            "padding": padding,
            "strideH": self.stride[0], "strideW": self.stride[1],
            "fusedActivationFunction": TFLITE_ACTIVATION[self.activation],
        }  # fmt: skip
        bias = (self.bias,) if self.bias else ()
        inputs: tuple[str | Array, ...] = (np.array(shape, np.int32), self.inputs[1], self.inputs[0], *bias)
        return TfliteNode("TRANSPOSE_CONV", inputs, (target,), "TransposeConvOptions", attributes, version=4)

    def macs(self, graph: Graph) -> int:
        w = graph[self.inputs[1]]
        return graph[self.inputs[0]].size * w.shape[0] * w.shape[1] * w.shape[2]

    def onnx(self, w: OnnxWriter) -> None:
        """ONNX's pads are the crops; what the output has beyond the last patch is its output padding."""
        x, weights, y = (w.graph[n] for n in (*self.inputs[:2], self.output))
        beyond = [
            y.shape[i + 1] + self.crop[i] - (x.shape[i + 1] - 1) * self.stride[i] - weights.shape[i + 1] for i in (0, 1)
        ]
        data = w.graph.constant(self.inputs[1]).transpose(3, 0, 1, 2)  # OHWI to IOHW
        inputs = [w.real(self.inputs[0], "nchw"), w.weights(self, self.inputs[1], data, axis=1), *self.onnx_bias(w)]
        value = w.node(
            "ConvTranspose", inputs, f"{self.output}/conv", kernel_shape=list(data.shape[2:]), strides=list(self.stride),
            pads=[*self.crop, *(max(-b, 0) for b in beyond)], output_padding=[max(b, 0) for b in beyond],
        )  # fmt: skip
        w.store(value, self.output, "nchw", self.activation)
