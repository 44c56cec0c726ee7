"""What the pooling operators share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.ir import Graph, Op, Storage
from pipeline.kernel import Kernel
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation, clamp_range
from pipeline.ops._checks import expect_int8, expect_rank, expect_same_quant
from pipeline.ops._window import Pads, Pair, check_window, spatial, tflite_padding, window_params

SCALE_TOLERANCE = 1e-6  # TFLM's, in pooling_common.cc


@dataclass(frozen=True, kw_only=True)
class Pool(Op):
    """One value for those under a window, channel by channel. inputs: x (1,H,W,C); input and output are quantised alike."""

    kernel: Pair
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    activation: Activation = "none"

    def check(self, graph: Graph) -> None:
        x, y = graph[self.inputs[0]], graph[self.output]
        expect_int8(self, graph, self.inputs[0], self.output)
        expect_rank(self, graph, 4, self.inputs[0], self.output)
        expect_same_quant(self, graph, self.inputs[0], self.output, scale_tolerance=SCALE_TOLERANCE)
        if max(self.pads[:2]) >= self.kernel[0] or max(self.pads[2:]) >= self.kernel[1]:
            raise self.fail(
                f"pads {self.pads} leave windows of {self.kernel} with nothing inside the image; they must be smaller"
            )
        check_window(self, x, y, self.kernel, self.stride, (1, 1), self.pads, x.shape[3])

    def kernels(self, graph: Graph) -> tuple[Kernel, ...]:
        x, y = graph[self.inputs[0]], graph[self.output]
        low, high = clamp_range(self.activation, y)
        window = window_params(x, y, self.kernel, self.stride, (1, 1), self.pads)
        params = {"window": window, "clamp_min": low, "clamp_max": high}
        return (Kernel(f"{self.kind}_s8", params, self.inputs, self.outputs),)

    def tflite_padding(self, graph: Graph) -> str | None:
        """TFLite's word for these pads, if it has one."""
        x, y = graph[self.inputs[0]], graph[self.output]
        return tflite_padding(spatial(x), spatial(y), self.kernel, self.stride, (1, 1), self.pads)

    def tflite_attributes(self, padding: str) -> dict[str, Any]:
        return {
            "padding": padding,
            "strideH": self.stride[0], "strideW": self.stride[1],
            "filterHeight": self.kernel[0], "filterWidth": self.kernel[1],
            "fusedActivationFunction": TFLITE_ACTIVATION[self.activation],
        }  # fmt: skip

    def storage(self, graph: Graph) -> Storage:
        """Without padding above or to the left, no window starts before the place its result is written to: results may
        overwrite the input as they come."""
        return "in_place" if self.pads[0] == self.pads[2] == 0 else "new"
