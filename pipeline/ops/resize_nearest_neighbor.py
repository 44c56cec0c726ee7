"""Another size for an image, each value taken from the nearest: TFLite's RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.fixedpoint import round_half_away
from pipeline.ir import Array, Graph, Op, TfliteNode
from pipeline.kernel import Kernel
from pipeline.ops._checks import expect_int8, expect_rank, expect_same_quant, expect_shape
from pipeline.ops._onnx import OnnxWriter
from pipeline.ops._window import spatial


@dataclass(frozen=True, kw_only=True)
class ResizeNearestNeighbor(Op):
    """The output's shape says the size. inputs: x (1,H,W,C). Which row and column is nearest is computed here, in TFLite's
    float32, and compiled in as two index tables."""

    rounding = "exact"

    align_corners: bool = False
    half_pixel_centers: bool = False

    def check(self, graph: Graph) -> None:
        x, y = graph[self.inputs[0]], graph[self.output]
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_rank(self, graph, 4, self.inputs[0], self.output)
        expect_same_quant(self, graph, self.inputs[0], self.output)
        expect_shape(self, graph, self.output, (x.shape[0], *spatial(y), x.shape[3]))
        if x.shape[0] != 1 or max(*spatial(x), *spatial(y)) > np.iinfo(np.uint16).max:
            raise self.fail(f"resizes one image of up to {np.iinfo(np.uint16).max} rows and columns, not {x.shape}")
        if self.align_corners and self.half_pixel_centers:
            raise self.fail("align_corners and half_pixel_centers exclude each other")

    def nearest(self, size: int, wanted: int) -> Array:
        """Source: GetNearestNeighbor in TFLite's resize_nearest_neighbor.h."""
        f32 = np.float32
        corners = self.align_corners and wanted > 1
        scale = f32(size - 1) / f32(wanted - 1) if corners else f32(size) / f32(wanted)
        at = (np.arange(wanted, dtype=f32) + f32(0.5 if self.half_pixel_centers else 0)) * scale
        index = round_half_away(at) if self.align_corners else np.floor(at)
        return np.clip(index, 0, size - 1).astype(np.uint16)

    def indexes(self, graph: Graph) -> tuple[Array, Array]:
        """Which input row makes each output row, and which column each column."""
        x, y = graph[self.inputs[0]], graph[self.output]
        return self.nearest(x.shape[1], y.shape[1]), self.nearest(x.shape[2], y.shape[2])

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        rows, cols = self.indexes(graph)
        return (np.ascontiguousarray(args[0][:, :, rows][:, :, :, cols]),)

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, y = graph[self.inputs[0]], graph[self.output]
        rows, cols = self.indexes(graph)
        params = {"x_w": x.shape[2], "y_h": y.shape[1], "y_w": y.shape[2], "channels": x.shape[3], "row": rows, "col": cols}
        return (Kernel("resize_nearest_neighbor_s8", params, self.inputs, self.outputs),)

    def tflite(self, graph: Graph) -> tuple[TfliteNode, ...]:
        attributes = {"alignCorners": self.align_corners, "halfPixelCenters": self.half_pixel_centers}
        inputs = (self.inputs[0], np.array(spatial(graph[self.output]), np.int32))
        options = "ResizeNearestNeighborOptions"
        return (TfliteNode("RESIZE_NEAREST_NEIGHBOR", inputs, self.outputs, options, attributes, version=3),)

    def onnx(self, w: OnnxWriter) -> None:
        """By the operator's own index tables: ONNX's Resize rounds in more ways than one, and runtimes differ."""
        value = w.stored(self.inputs[0])
        for axis, index in zip((1, 2), self.indexes(w.graph), strict=True):
            table = w.constant(f"{self.output}/index_{axis}", index.astype(np.int64))
            value = w.node("Gather", [value, table], f"{self.output}/resized_{axis}", axis=axis)
        w.keep(value, self.output)
