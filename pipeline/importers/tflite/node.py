"""One operator of a .tflite file with its tensors, as the functions that translate builtins see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import GraphError
from pipeline.importers.tflite.file import FileOperator, Options
from pipeline.ir import Array, Tensor
from pipeline.ops._activation import TFLITE_ACTIVATION, Activation
from pipeline.ops._window import Pads, Pair, same_pads, spatial

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

    def names(self, *required: int, bias: int | None = None) -> tuple[str, ...]:
        """The required inputs, then the bias where there is one. One of nothing but zeros is none."""
        given = tuple(self.name(i) for i in required)
        extra = self.inputs[bias] if bias is not None and bias < len(self.inputs) else None
        if extra is None:
            return given
        data = self.tensors[extra].data
        return given if data is not None and data.dtype == np.int32 and not data.any() else (*given, extra)

    def x(self, i: int = 0, rank: int | None = None) -> Tensor:
        """Input i's tensor, of `rank` dimensions where that is given."""
        tensor = self.tensors[self.name(i)]
        if rank is not None and len(tensor.shape) != rank:
            raise self.fail(f"{self.name(i)!r} must have {rank} dimensions, it has shape {tensor.shape}")
        return tensor

    def y(self, rank: int) -> Tensor:
        """The first output's tensor, of `rank` dimensions."""
        tensor = self.tensors[self.outputs[0]]
        if len(tensor.shape) != rank:
            raise self.fail(f"{self.outputs[0]!r} must have {rank} dimensions, it has shape {tensor.shape}")
        return tensor

    def expect(self, asked: Sequence[int], declared: Sequence[int], what: str) -> None:
        """GraphError unless an operand asks for what the outputs' declared shapes say: TFLite follows one or the other."""
        if list(asked) != list(declared):
            raise self.fail(
                f"its {what} {list(asked)} contradicts the declared shape, which has {list(declared)}; the file is damaged, "
                "convert the model anew"
            )

    def expect_shape(self, want: Sequence[int], what: str, output: int = 0) -> None:
        """As `expect`, of an output's whole shape."""
        self.expect(want, self.tensors[self.outputs[output]].shape, what)

    def constant(self, i: int, what: str) -> Array:
        """Input i's values, an integer constant."""
        data = self.x(i).data
        if data is None or data.dtype.kind != "i":
            raise self.fail(
                f"{what} ({self.name(i)!r}) must be an integer constant; values computed at run time are not supported"
            )
        return data

    def axis(self, axis: int, rank: int) -> int:
        """An axis of a tensor of `rank` dimensions, counted from the front."""
        if not -rank <= axis < rank:
            raise self.fail(f"axis {axis} does not exist in a tensor of {rank} dimensions")
        return axis % rank

    def axes(self, i: int, rank: int) -> tuple[int, ...]:
        """Input i, a constant, as axes."""
        return tuple(self.axis(int(a), rank) for a in self.constant(i, "the axes").reshape(-1)[:8])

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
