"""An int8 graph as a .tflite file that TFLM and LiteRT both load: schema version 3, one subgraph, no signatures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pipeline.errors import GraphError
from pipeline.ir import Array, Graph, Quant, Tensor, TfliteNode

SCHEMA_VERSION = 3
BUFFER_ALIGNMENT = 16  # the schema's force_align for Buffer.data, which the Python object API leaves out
TENSOR_TYPES = {
    "int8": schema.TensorType.INT8, "uint8": schema.TensorType.UINT8, "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32, "int64": schema.TensorType.INT64, "float32": schema.TensorType.FLOAT32,
    "bool": schema.TensorType.BOOL,
}  # fmt: skip
# The enum that a string-valued option is a member of, by the option's name.
OPTION_ENUMS = {
    "padding": schema.Padding, "fusedActivationFunction": schema.ActivationFunctionType,
    "weightsFormat": schema.FullyConnectedOptionsWeightsFormat, "mode": schema.MirrorPadMode,
    "inDataType": schema.TensorType, "outDataType": schema.TensorType, "quantizedBiasType": schema.TensorType,
}  # fmt: skip
BIASED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


def to_tflite(graph: Graph) -> bytes:
    """The file's bytes; the same graph gives the same bytes."""
    return _Writer(graph).write()


def tflite_nodes(graph: Graph) -> tuple[TfliteNode, ...]:
    """The operators of the file, in order."""
    return tuple(node for op in graph.ops for node in op.tflite(graph))


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the generated schema is untyped
    """Buffer data aligned as the schema demands."""

    def Pack(self, builder: flatbuffers.Builder) -> int:
        if self.data is None:
            return int(super().Pack(builder))
        data = self.data.tobytes()
        builder.StartVector(1, len(data), BUFFER_ALIGNMENT)
        builder.head -= len(data)
        builder.Bytes[builder.head : builder.head + len(data)] = data
        vector = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = tflite_nodes(graph)
        self.temps = {name: t for node in self.nodes for name, t in node.temps.items()}
        self.buffers = [schema.BufferT()]  # buffer 0 is empty: what activations have
        self.tensors: list[Any] = []
        self.index: dict[str, int] = {}
        self.derived: dict[str, Quant] = {}  # of biases that have none
        self.codes: dict[tuple[int, int], int] = {}

    def write(self) -> bytes:
        nodes = list(map(self._with_bias, self.nodes))
        for name in self.graph.inputs:
            self._tensor(name)
        operators = [self._operator(node) for node in nodes]
        subgraph = schema.SubGraphT()
        subgraph.name = "main"
        subgraph.inputs = [self._tensor(n) for n in self.graph.inputs]
        subgraph.outputs = [self._tensor(n) for n in self.graph.outputs]
        subgraph.tensors = self.tensors
        subgraph.operators = operators
        model = schema.ModelT()
        model.version = SCHEMA_VERSION
        model.description = self.graph.name
        model.operatorCodes = [self._operator_code(builtin, version) for builtin, version in self.codes]
        model.subgraphs = [subgraph]
        model.buffers = self.buffers
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _with_bias(self, node: TfliteNode) -> TfliteNode:
        """LiteRT refuses an int8 convolution without bias, and a bias whose scale is not input scale x weight scale (which
        its scale is by definition)."""
        if node.builtin not in BIASED:
            return node
        x, w = (self._described(n) for n in node.inputs[:2])
        if w.quant is None:
            return node
        scale = tuple(x.scale * s for s in w.quant.scale)
        quant = Quant(scale, 0, 0 if len(scale) > 1 else None)
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if isinstance(bias, str):
            if self.graph[bias].quant is None:
                self.derived[bias] = quant
            return node
        channels = self._described(node.outputs[0]).shape[-1]
        name = f"{node.outputs[0]}/no_bias"
        zeros = Tensor((channels,), "int32", quant, np.zeros(channels, np.int32))
        self.temps[name] = zeros
        return replace(node, inputs=(*node.inputs[:2], name))

    def _described(self, name: str | Array | None) -> Tensor:
        assert isinstance(name, str)  # the operators in BIASED have named inputs and outputs
        return self.temps[name] if name in self.temps else self.graph[name]

    def _operator(self, node: TfliteNode) -> Any:
        builtin = getattr(schema.BuiltinOperator, node.builtin, None)
        if builtin is None:
            raise GraphError(f"{self.graph.name!r}: TFLite has no builtin operator {node.builtin!r}")
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.setdefault((builtin, node.version), len(self.codes))
        operator.inputs = [self._input(node, i, x) for i, x in enumerate(node.inputs)]
        operator.outputs = [self._tensor(n) for n in node.outputs]
        if node.options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, node.options)
            operator.builtinOptions = self._options(node)
        return operator

    def _options(self, node: TfliteNode) -> Any:
        options = getattr(schema, f"{node.options}T")()
        for key, value in node.attributes.items():
            if not hasattr(options, key):
                raise GraphError(f"{node.outputs[0]!r}: {node.options} has no field {key!r}")
            if isinstance(value, str) and key in OPTION_ENUMS:
                value = getattr(OPTION_ENUMS[key], value)
            setattr(options, key, list(value) if isinstance(value, tuple) else value)
        return options

    def _input(self, node: TfliteNode, position: int, value: str | Array | None) -> int:
        if value is None:
            return -1
        if isinstance(value, str):
            return self._tensor(value)
        constant = Tensor(value.shape, str(value.dtype), None, value)  # type: ignore[arg-type]  # int64 shapes are allowed here
        name = f"{node.outputs[0]}/{node.builtin.lower()}/input_{position}"
        self.temps[name] = constant
        return self._tensor(name)

    def _tensor(self, name: str) -> int:
        if name not in self.index:
            tensor = self._described(name)
            t = schema.TensorT()
            t.name = name
            t.shape = list(tensor.shape)
            t.type = TENSOR_TYPES[tensor.dtype]
            t.buffer = self._buffer(tensor)
            t.quantization = self._quantization(tensor.quant or self.derived.get(name))
            t.hasRank = True
            self.index[name] = len(self.tensors)
            self.tensors.append(t)
        return self.index[name]

    def _buffer(self, tensor: Tensor) -> int:
        buffer = _AlignedBuffer()
        buffer.data = tensor.data
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    @staticmethod
    def _quantization(quant: Quant | None) -> Any:
        parameters = schema.QuantizationParametersT()
        if quant is not None:
            parameters.scale = np.array(quant.scale, np.float32)
            parameters.zeroPoint = np.full(len(quant.scale), quant.zero_point, np.int64)
            parameters.quantizedDimension = quant.axis or 0
        return parameters

    @staticmethod
    def _operator_code(builtin: int, version: int) -> Any:
        code = schema.OperatorCodeT()
        # Readers older than the 32-bit field look at this one; 127 says "see builtinCode".
        code.deprecatedBuiltinCode = min(builtin, 127)
        code.builtinCode = builtin
        code.version = version
        return code
