"""The ONNX nodes of an operator, as its own file in pipeline/ops says them."""

from __future__ import annotations

from pipeline.codegen.onnx.writer import Writer
from pipeline.errors import GraphError
from pipeline.ir import Op
from pipeline.ops import all_ops
from pipeline.ops._onnx import InOnnx


def write_op(op: Op, w: Writer) -> None:
    """Append the nodes that compute `op`. GraphError when it has no ONNX form."""
    if not isinstance(op, InOnnx):
        known = ", ".join(sorted(kind for kind, c in all_ops().items() if issubclass(c, InOnnx)))
        raise GraphError(
            f"{op.kind} {op.output!r} has no ONNX form; operators with one: {known}. Choose a cortex_m target, or rebuild "
            "the layer from these."
        )
    op.onnx(w)
