"""Several operators of a .tflite file that are one operator of the graph, to the last bit.

A dilated convolution is what TensorFlow's converter often leaves as SPACE_TO_BATCH_ND, a plain convolution over the batch of
interleaved images, BATCH_TO_SPACE_ND: padding is with the zero point in both, and nothing is rescaled on the way. A table
lookup is what this package writes as CAST, ADD, GATHER.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from pipeline.importers.tflite.builtins import BUILTINS
from pipeline.importers.tflite.file import FileOperator, TfliteFile
from pipeline.importers.tflite.node import Node
from pipeline.ir import Op
from pipeline.ops.conv2d import Conv2d
from pipeline.ops.depthwise_conv2d import DepthwiseConv2d
from pipeline.ops.lookup import Lookup

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


@dataclass(frozen=True, slots=True)
class Composite:
    """`parts` in file order, with nobody else reading what passes between them. `build` takes a node for each."""

    parts: tuple[FileOperator, ...]
    build: Callable[[tuple[Node, ...]], tuple[Op, ...]]


def composites(file: TfliteFile) -> Mapping[int, Composite]:
    """By the index of each one's last operator."""
    readers = Counter((*file.outputs, *(i for op in file.operators for i in op.inputs)))
    writers = {i: op for op in file.operators for i in op.outputs if readers[i] == 1}

    def before(op: FileOperator, i: int, *builtins: str) -> FileOperator | None:
        """The operator that writes input i, for this reader alone."""
        writer = writers.get(op.inputs[i]) if i < len(op.inputs) else None
        return writer if writer and writer.builtin in builtins and writer.inputs else None

    def found() -> Iterator[Composite]:
        for op in file.operators:
            if op.builtin == "BATCH_TO_SPACE_ND":
                inner = before(op, 0, *CONVOLUTIONS)
                first = before(inner, 0, "SPACE_TO_BATCH_ND") if inner else None
                if inner and first:
                    yield Composite((first, inner, op), dilated_convolution)
            if op.builtin == "GATHER":
                add = before(op, 1, "ADD")
                cast = before(add, 0, "CAST") if add else None
                if add and cast:
                    yield Composite((cast, add, op), lookup)

    return {c.parts[-1].index: c for c in found()}


def dilated_convolution(nodes: tuple[Node, ...]) -> tuple[Op, ...]:
    first, inner, last = nodes
    (op,) = BUILTINS[inner.operator.builtin](inner)
    assert isinstance(op, Conv2d | DepthwiseConv2d)
    block, widths, crops = (
        first.constant(1, "the block shape"),
        first.constant(2, "the padding"),
        last.constant(2, "the crops"),
    )
    if block.shape != (2,) or widths.shape != (2, 2) or crops.shape != (2, 2):
        raise inner.fail("only two spatial dimensions can be dilated")
    same = list(last.constant(1, "the block shape")) == list(block)
    if not same or op.stride != (1, 1) or op.dilation != (1, 1) or any(op.pads):
        raise inner.fail(
            "between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND stands another convolution than a dilated one gives"
        )
    for n in (first, last):
        if n.tensors[n.outputs[0]].quant != n.x().quant:
            raise n.fail("it changes the quantisation")
    top, bottom, left, right = (int(v) for v in (widths - crops).reshape(-1))
    names = (first.name(0), *op.inputs[1:])
    dilation = int(block[0]), int(block[1])
    return (replace(op, inputs=names, outputs=last.outputs, dilation=dilation, pads=(top, bottom, left, right)),)


def lookup(nodes: tuple[Node, ...]) -> tuple[Op, ...]:
    cast, add, gather = nodes
    offset, table = add.constant(1, "the offset"), gather.constant(0, "the table")
    o = gather.options("GatherOptions")
    if offset.size != 1 or int(offset.reshape(-1)[0]) != 128 or table.shape != (256,) or gather.x(0).dtype != "int8":
        raise gather.fail("it is a table lookup only with 128 added and a table of 256 int8 values")
    if o.integer("Axis") or o.integer("BatchDims"):
        raise gather.fail("a table lookup is along axis 0")
    return (Lookup(inputs=cast.names(0), outputs=gather.outputs, table=tuple(int(v) for v in table)),)
