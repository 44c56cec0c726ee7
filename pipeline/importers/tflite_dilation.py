"""Dilated convolutions as TensorFlow's converter often leaves them: SPACE_TO_BATCH_ND, a plain convolution over the batch of
interleaved images, BATCH_TO_SPACE_ND. The three together are one convolution with dilation, to the last bit: padding is with
the zero point in both, and nothing is rescaled on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pipeline.importers.tflite_builtins import Node
from pipeline.importers.tflite_file import FileOperator, TfliteFile
from pipeline.ir import Op
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d


@dataclass(frozen=True, slots=True)
class Triple:
    """`inner` is the plain convolution between the two."""

    to_batch: FileOperator
    inner: FileOperator
    to_space: FileOperator


def triples(file: TfliteFile) -> Mapping[int, Triple]:
    """By the index of the convolution. What stands between must be read by nobody else."""
    readers = Counter((*file.outputs, *(i for op in file.operators for i in op.inputs)))
    writer = {op.outputs[0]: op for op in file.operators if op.builtin == "SPACE_TO_BATCH_ND"}
    reader = {op.inputs[0]: op for op in file.operators if op.builtin == "BATCH_TO_SPACE_ND" and op.inputs}
    found = {}
    for op in file.operators:
        if op.builtin not in ("CONV_2D", "DEPTHWISE_CONV_2D") or not op.inputs:
            continue
        before, after = writer.get(op.inputs[0]), reader.get(op.outputs[0])
        if before and after and readers[op.inputs[0]] == readers[op.outputs[0]] == 1:
            found[op.index] = Triple(before, op, after)
    return found


def dilated(triple: Triple, node: Callable[[FileOperator], Node], convolution: tuple[Op, ...]) -> tuple[Op, ...]:
    """The one convolution for the triple. `convolution` is what the inner one gives on its own."""
    (op,) = convolution
    before, after, inner = node(triple.to_batch), node(triple.to_space), node(triple.inner)
    assert isinstance(op, Conv2d | DepthwiseConv2d)  # the builtins that `triples` looks for
    block, widths = before.constant(1, "the block shape"), before.constant(2, "the padding widths")
    crops = after.constant(2, "the crops")
    if block.shape != (2,) or widths.shape != (2, 2) or crops.shape != (2, 2):
        raise inner.fail("only two spatial dimensions can be dilated")
    if (
        op.stride != (1, 1)
        or op.dilation != (1, 1)
        or any(op.pads)
        or list(after.constant(1, "the block shape")) != list(block)
    ):
        raise inner.fail(
            "between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND stands another convolution than a dilated one gives"
        )
    for n, outer in ((before, before.x()), (after, after.x())):
        if n.tensors[n.outputs[0]].quant != outer.quant:
            raise n.fail("it changes the quantisation")
    top, bottom, left, right = (int(v) for v in (widths - crops).reshape(-1))
    names = (before.name(0), *op.inputs[1:])
    dilation = int(block[0]), int(block[1])
    return (replace(op, inputs=names, outputs=after.outputs, dilation=dilation, pads=(top, bottom, left, right)),)
