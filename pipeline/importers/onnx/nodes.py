"""What each ONNX operator becomes. `NODES` is what the importer supports."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.importers.onnx import layers as onnx_layers
from pipeline.importers.onnx import math as onnx_math
from pipeline.importers.onnx import moves as onnx_moves
from pipeline.importers.onnx.builder import OnnxBuilder
from pipeline.importers.onnx.file import OnnxNode
from pipeline.ops.add import Add
from pipeline.ops.hard_swish import HardSwish
from pipeline.ops.leaky_relu import LeakyRelu
from pipeline.ops.maximum import Maximum
from pipeline.ops.minimum import Minimum
from pipeline.ops.mul import Mul
from pipeline.ops.relu import Relu
from pipeline.ops.sub import Sub

NODES: dict[str, Callable[[OnnxBuilder, OnnxNode], None]] = {
    "Add": onnx_math.binary(Add),
    "AveragePool": onnx_layers.average_pool,
    "Clip": onnx_math.clip,
    "Concat": onnx_moves.concat,
    "Conv": onnx_layers.conv,
    "ConvTranspose": onnx_layers.conv_transpose,
    "DepthToSpace": onnx_moves.depth_to_space,
    "Div": onnx_math.div,
    "Dropout": onnx_moves.identity,
    "Flatten": onnx_moves.flatten,
    "Gather": onnx_moves.gather,
    "Gemm": onnx_layers.gemm,
    "GlobalAveragePool": onnx_layers.global_average_pool,
    "GlobalMaxPool": onnx_layers.global_max_pool,
    "HardSwish": onnx_math.pointwise(HardSwish),
    "Identity": onnx_moves.identity,
    "LeakyRelu": onnx_math.pointwise(LeakyRelu, alpha=0.01),
    "MatMul": onnx_layers.matmul,
    "Max": onnx_math.selecting(Maximum),
    "MaxPool": onnx_layers.max_pool,
    "Min": onnx_math.selecting(Minimum),
    "Mul": onnx_math.binary(Mul),
    "PRelu": onnx_math.prelu,
    "Pad": onnx_moves.pad,
    "ReduceMean": onnx_layers.reduce_mean,
    "Pow": onnx_math.power,
    "Relu": onnx_math.pointwise(Relu),
    "Reshape": onnx_moves.reshape,
    "Resize": onnx_moves.resize,
    "Sigmoid": onnx_math.sigmoid,
    "Slice": onnx_moves.slice_,
    "Softmax": onnx_layers.softmax,
    "Split": onnx_moves.split,
    "Squeeze": onnx_moves.squeeze,
    "Sub": onnx_math.binary(Sub),
    "Tanh": onnx_math.tanh,
    "Transpose": onnx_moves.transpose,
    "Unsqueeze": onnx_moves.unsqueeze,
    "Upsample": onnx_moves.resize,
    **dict.fromkeys(onnx_math.FUNCTIONS, onnx_math.function),
}
