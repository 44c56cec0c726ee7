"""Changes a .tflite file through the schema's object API, for cases that no converter writes on demand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

FILES = Path(__file__).parent / "files"
Edit = Callable[[Any], None]  # takes a ModelT and changes it


def file(name: str) -> bytes:
    return (FILES / f"{name}.tflite").read_bytes()


def edited(content: bytes, edit: Edit) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    for subgraph in model.subgraphs:
        for op in subgraph.operators:
            op.inputs, op.outputs = [*op.inputs], [*op.outputs]
        for tensor in subgraph.tensors:
            q = tensor.quantization
            if q is not None and q.scale is not None:
                q.scale, q.zeroPoint = q.scale.copy(), q.zeroPoint.copy()
    edit(model)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator(model: Any, builtin: str, nth: int = 0) -> Any:
    code = getattr(schema.BuiltinOperator, builtin)
    return [o for o in model.subgraphs[0].operators if model.operatorCodes[o.opcodeIndex].builtinCode == code][nth]


def operand(model: Any, builtin: str, i: int) -> Any:
    """Input i of the first such operator; -1 is its output."""
    op = operator(model, builtin)
    return model.subgraphs[0].tensors[op.outputs[0] if i < 0 else op.inputs[i]]


def append_tensor(model: Any, like: Any, name: str) -> int:
    """The index of a new activation that is described as `like` is."""
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, like.shape, like.type, 0
    tensor.quantization = like.quantization
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def append_constant(model: Any, values: Any, name: str, type_: int) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(np.shape(values)), type_, len(model.buffers) - 1
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def append_operator(model: Any, builtin: str, inputs: list[int], outputs: list[int], at: int | None = None) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, builtin)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    model.operatorCodes.append(code)
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = len(model.operatorCodes) - 1, inputs, outputs
    operators = model.subgraphs[0].operators
    operators.insert(len(operators) if at is None else at, op)
    return op
