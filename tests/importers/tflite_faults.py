"""What can be wrong with a .tflite file: for each fault a good file, an edit of it, and what is said then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.importers.tflite_edit import append_constant, append_operator, append_tensor, operand, operator


def tensor(m: Any, builtin: str = "CONV_2D", i: int = 0) -> Any:
    return operand(m, builtin, i)


def scales(values: float) -> Callable[[Any], None]:
    def edit(m: Any) -> None:
        tensor(m).quantization.scale = np.array([values], np.float32)

    return edit


def weight_scales(m: Any) -> None:
    tensor(m, i=1).quantization.scale[3] = 0


def too_few_scales(m: Any) -> None:
    q = tensor(m, i=1).quantization
    q.scale, q.zeroPoint = q.scale[:5], q.zeroPoint[:5]


def zero_points_differ(m: Any) -> None:
    tensor(m, i=1).quantization.zeroPoint[2] = 7


def zero_points_too_many(m: Any) -> None:
    tensor(m).quantization.zeroPoint = np.zeros(3, np.int64)


def zero_point_range(m: Any) -> None:
    tensor(m).quantization.zeroPoint = np.array([128], np.int64)


def asymmetric_weights(m: Any) -> None:
    tensor(m, i=1).quantization.zeroPoint[:] = 3


def no_quantisation(m: Any) -> None:
    tensor(m, "DEPTHWISE_CONV_2D").quantization = None


def blockwise(m: Any) -> None:
    q = tensor(m).quantization
    q.detailsType, q.details = schema.QuantizationDetails.CustomQuantization, schema.CustomQuantizationT()


def set_shape(*dims: int, builtin: str = "CONV_2D", i: int = 0) -> Callable[[Any], None]:
    def edit(m: Any) -> None:
        tensor(m, builtin, i).shape, tensor(m, builtin, i).shapeSignature = list(dims), None

    return edit


def open_width(m: Any) -> None:
    tensor(m).shapeSignature = [-1, 9, -1, 3]


def buffer_index(m: Any) -> None:
    tensor(m, i=1).buffer = 4000


def buffer_size(m: Any) -> None:
    buffer = m.buffers[tensor(m, i=1).buffer]
    buffer.data = buffer.data[:-1]


def buffer_beyond(m: Any) -> None:
    buffer = m.buffers[tensor(m, i=1).buffer]
    buffer.data, buffer.offset, buffer.size = None, 5000, 216


def tensor_index(m: Any) -> None:
    operator(m, "CONV_2D").inputs[1] = 400


def output_index(m: Any) -> None:
    m.subgraphs[0].outputs = [-1]


def operator_code(m: Any) -> None:
    operator(m, "CONV_2D").opcodeIndex = 77


def unknown_builtin(m: Any) -> None:
    m.operatorCodes[operator(m, "CONV_2D").opcodeIndex].builtinCode = 1999


def unsupported_builtin(m: Any) -> None:
    m.operatorCodes[operator(m, "SOFTMAX").opcodeIndex].builtinCode = schema.BuiltinOperator.LOG_SOFTMAX


def custom(m: Any) -> None:
    code = m.operatorCodes[operator(m, "SOFTMAX").opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "TFLite_Detection_PostProcess"


def cycle(m: Any) -> None:
    """The convolution reads what is computed from it."""
    operator(m, "CONV_2D").inputs[0] = operator(m, "DEPTHWISE_CONV_2D").outputs[0]


def shuffled(m: Any) -> None:
    m.subgraphs[0].operators.reverse()


def written_twice(m: Any) -> None:
    operator(m, "DEPTHWISE_CONV_2D").outputs = operator(m, "CONV_2D").outputs


def writes_constant(m: Any) -> None:
    operator(m, "DEPTHWISE_CONV_2D").outputs = [operator(m, "CONV_2D").inputs[1]]


def writes_input(m: Any) -> None:
    operator(m, "DEPTHWISE_CONV_2D").outputs = m.subgraphs[0].inputs
    operator(m, "DEPTHWISE_CONV_2D").builtinOptions.depthMultiplier = 0  # which would be refused first


def never_written(m: Any) -> None:
    m.subgraphs[0].outputs = [append_tensor(m, tensor(m), "nothing")]


def no_inputs(m: Any) -> None:
    m.subgraphs[0].inputs = []


def input_twice(m: Any) -> None:
    m.subgraphs[0].inputs = list(m.subgraphs[0].inputs) * 2


def constant_output(m: Any) -> None:
    m.subgraphs[0].outputs = [operator(m, "CONV_2D").inputs[1]]


def only_edges(m: Any) -> None:
    """A quantize and a dequantize with nothing between them."""
    ops = m.subgraphs[0].operators
    ops[-1].inputs = ops[0].outputs
    m.subgraphs[0].operators = [ops[0], ops[-1]]


def float_in_the_middle(m: Any) -> None:
    t = m.subgraphs[0].tensors[operator(m, "DEPTHWISE_CONV_2D").outputs[0]]
    t.type, t.quantization = schema.TensorType.FLOAT32, None


def float_round_trip(m: Any) -> None:
    """int8 -> float -> int8 between two layers."""
    x = operator(m, "DEPTHWISE_CONV_2D").inputs[0]
    floats = append_tensor(m, m.subgraphs[0].tensors[x], "floats")
    m.subgraphs[0].tensors[floats].type, m.subgraphs[0].tensors[floats].quantization = schema.TensorType.FLOAT32, None
    back = append_tensor(m, m.subgraphs[0].tensors[x], "back")
    append_operator(m, "DEQUANTIZE", [x], [floats], at=1)
    append_operator(m, "QUANTIZE", [floats], [back], at=2)
    operator(m, "DEPTHWISE_CONV_2D").inputs[0] = back


def two_quantisations(m: Any) -> None:
    q = operator(m, "QUANTIZE")
    other = append_tensor(m, m.subgraphs[0].tensors[q.outputs[0]], "other")
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = np.array([3.0], np.float32), np.array([0])
    m.subgraphs[0].tensors[other].quantization = quantization
    append_operator(m, "QUANTIZE", [q.inputs[0]], [other], at=1)


def uint8_everywhere(m: Any) -> None:
    for t in m.subgraphs[0].tensors:
        if t.type == schema.TensorType.INT8:
            t.type = schema.TensorType.UINT8
            t.quantization.zeroPoint = t.quantization.zeroPoint + 128


def variable(m: Any) -> None:
    tensor(m, "DEPTHWISE_CONV_2D").isVariable = True


def sparse(m: Any) -> None:
    tensor(m, i=1).sparsity = schema.SparsityParametersT()


def int4_weights(m: Any) -> None:
    tensor(m, "FULLY_CONNECTED", 1).type = schema.TensorType.INT4


def wrong_options(m: Any) -> None:
    op = operator(m, "CONV_2D")
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.SoftmaxOptions, schema.SoftmaxOptionsT()


def missing_conv_options(m: Any) -> None:
    op = operator(m, "CONV_2D")
    op.builtinOptionsType, op.builtinOptions = 0, None


def option(builtin: str, name: str, value: Any) -> Callable[[Any], None]:
    def edit(m: Any) -> None:
        setattr(operator(m, builtin).builtinOptions, name, value)

    return edit


def live_weights(m: Any) -> None:
    tensor(m, "FULLY_CONNECTED", 1).buffer = 0


def missing_weights(m: Any) -> None:
    operator(m, "CONV_2D").inputs = operator(m, "CONV_2D").inputs[:1]


def mean_axes(m: Any) -> None:
    operator(m, "MEAN").inputs[1] = append_constant(m, np.array([1, 9], np.int32), "axes", schema.TensorType.INT32)


def replaced(builtin: str, i: int, values: Any, type_: int) -> Callable[[Any], None]:
    """Another constant as input i."""

    def edit(m: Any) -> None:
        operator(m, builtin).inputs[i] = append_constant(m, values, "replaced", type_)

    return edit


slice_strides = replaced("STRIDED_SLICE", 3, np.zeros(4, np.int32), schema.TensorType.INT32)
permutation = replaced("TRANSPOSE", 1, np.zeros(4, np.int32), schema.TensorType.INT32)
two_fills = replaced("PADV2", 2, np.zeros(2, np.int8), schema.TensorType.INT8)
tiles = replaced("TILE", 1, np.array([2, 1, 1, 2, 1], np.int32), schema.TensorType.INT32)


def bias_size(m: Any) -> None:
    op = operator(m, "CONV_2D")
    op.inputs[2] = append_constant(m, np.ones(5, np.int32), "short_bias", schema.TensorType.INT32)


SCALES = r"tensor 'serving_default\S*': quantisation scales must be positive and finite"
BAD: dict[str, tuple[str, Callable[[Any], None], str]] = {
    "zero scale": ("cnn_int8", scales(0.0), SCALES),
    "negative scale": ("cnn_int8", scales(-1.0), SCALES),
    "NaN scale": ("cnn_int8", scales(float("nan")), SCALES),
    "infinite scale": ("cnn_int8", scales(float("inf")), SCALES),
    "one zero weight scale": ("cnn_int8", weight_scales, r"tensor '\S*': quantisation scales must be positive"),
    "too few scales": ("cnn_int8", too_few_scales, r"5 scales along dimension 0 do not fit its shape \(8, 3, 3, 3\)"),
    "unequal zero points": ("cnn_int8", zero_points_differ, r"zero points differ between channels"),
    "too many zero points": ("cnn_int8", zero_points_too_many, r"3 zero points for 1 scales"),
    "zero point out of range": ("cnn_int8", zero_point_range, r"zero point 128 is out of range for INT8 \(-128 to 127\)"),
    "asymmetric weights": ("cnn_int8", asymmetric_weights, r"weights '\S*' must be symmetric"),
    "activation without scale": ("cnn_int8", no_quantisation, r"'\S*' needs one scale and zero point"),
    "custom quantisation": ("cnn_int8", blockwise, r"tensor '\S*' uses a custom or blockwise quantisation"),
    "absurd shape": ("cnn_int8", set_shape(1, 1 << 20, 1 << 20, 3), r"tensor '\S*' has shape \(1, 1048576, .*more than 67,"),
    "negative dimension": ("cnn_int8", set_shape(1, -9, 7, 3), r"has shape \(1, -9, 7, 3\); every dimension must be fixed"),
    "zero dimension": ("cnn_int8", set_shape(1, 0, 7, 3), r"has shape \(1, 0, 7, 3\); every dimension must be fixed"),
    "too many dimensions": ("cnn_int8", set_shape(*[1] * 9), r"9 entries in Shape; at most 6 are read"),
    "input does not fit": ("cnn_int8", set_shape(1, 12, 12, 3), r"conv2d '\S*': output is \(1, 5, 4, 8\), but input"),
    "rank does not fit": ("cnn_int8", set_shape(1, 189), r"CONV_2D '\S*' \(operator 0\): '\S*' must have 4 dimensions"),
    "reshape does not fit": ("cnn_int8", set_shape(1, 49, builtin="RESHAPE", i=-1), r"new shape \[1, 48\] contra.* \[1, 49"),
    "batch of four": ("cnn_int8", set_shape(4, 9, 7, 3), r"conv2d '\S*': computes one image at a time, not 4"),
    "open width": ("cnn_int8", open_width, r"input '\S*' has the open shape \(-1, 9, -1, 3\)"),
    "buffer index": ("cnn_int8", buffer_index, r"tensor '\S*' is in buffer 4000, which is not in the file"),
    "buffer size": ("cnn_int8", buffer_size, r"constant '\S*': INT8\(8, 3, 3, 3\) takes 216 bytes, its buffer holds 215"),
    "buffer beyond the end": ("cnn_int8", buffer_beyond, r"constant '\S*' is said to be at bytes 5,000 to 5,216, beyond"),
    "tensor index": ("cnn_int8", tensor_index, r"operator 0 \(CONV_2D\) inputs: tensor index 400 is out of range"),
    "output index": ("cnn_int8", output_index, r"the graph's outputs: tensor index -1 is out of range"),
    "operator code": ("cnn_int8", operator_code, r"operator 0 has operator code 77, which the file does not define"),
    "unknown builtin": ("cnn_int8", unknown_builtin, r"builtin 1999 '\S*' .* is not supported. Supported .*CONV_2D"),
    "unsupported builtin": ("cnn_int8", unsupported_builtin, r"LOG_SOFTMAX '\S*' .* is not supported. Supported .*ADD"),
    "custom operator": ("cnn_int8", custom, r"CUSTOM '\S*' .* custom operator 'TFLite_Detection_PostProcess'"),
    "cycle": ("cnn_int8", cycle, r"conv2d '\S*': reads '\S*' before it is written: the graph is cyclic or out of order"),
    "shuffled": ("cnn_int8", shuffled, r"RESHAPE '\S*' .*the shape \('\S*'\) must be an integer constant"),
    "written twice": ("cnn_int8", written_twice, r"depthwise_conv2d '\S*': writes '\S*' a second time"),
    "writes a constant": ("cnn_int8", writes_constant, r"DEPTHWISE_CONV_2D '\S*' .*writes '\S*', which is a constant"),
    "writes an input": ("cnn_int8", writes_input, r"depthwise_conv2d '\S*': writes '\S*' a second time"),
    "never written": ("cnn_int8", never_written, r"graph output 'nothing' is never written"),
    "no inputs": ("cnn_int8", no_inputs, r"the graph needs at least one input and one output"),
    "input twice": ("cnn_int8", input_twice, r"inputs \(\S*, \S*\) and outputs \(\S*\) must all be different"),
    "constant output": ("cnn_int8", constant_output, r"output '\S*' is a constant"),
    "nothing to compute": ("cnn_float_edges", only_edges, r"must all be different|nothing to compute"),
    "float in the middle": ("cnn_int8", float_in_the_middle, r"DEPTHWISE_CONV_2D '\S*' .*the model is only partly int8"),
    "float round trip": ("cnn_int8", float_round_trip, r"DEQUANTIZE 'floats' \(operator 1\) .* at the graph's edge"),
    "input quantised twice": ("cnn_float_edges", two_quantisations, r"input '\S*' is quantised in several ways"),
    "uint8 arithmetic": ("cnn_int8", uint8_everywhere, r"CONV_2D '\S*' .* computes in uint8, TensorFlow 1's quantisation"),
    "variable": ("cnn_int8", variable, r"tensor '\S*' is a variable"),
    "sparse weights": ("cnn_int8", sparse, r"tensor '\S*' is stored sparse"),
    "int4 weights": ("cnn_int8", int4_weights, r"tensor '\S*' is INT4; supported are INT8"),
    "wrong options": ("cnn_int8", wrong_options, r"CONV_2D '\S*' .* carries SoftmaxOptions where Conv2DOptions belong"),
    "no stride": ("cnn_int8", missing_conv_options, r"CONV_2D '\S*' .* stride \(0, 0\) and dilation"),
    "padding": ("cnn_int8", option("CONV_2D", "padding", 7), r"option Padding = 7 is none of SAME, VALID"),
    "tanh": ("cnn_int8", option("CONV_2D", "fusedActivationFunction", 4), r"fused activation TANH has no int8 form"),
    "weight layout": ("cnn_int8", option("FULLY_CONNECTED", "weightsFormat", 1), r"weights are stored as SHUFFLED4x16INT8"),
    "NaN beta": ("cnn_int8", option("SOFTMAX", "beta", float("nan")), r"SOFTMAX '\S*' .*option Beta = nan is not a finite"),
    "zero beta": ("cnn_int8", option("SOFTMAX", "beta", 0.0), r"softmax '\S*': beta 0 times"),
    "huge stride": ("cnn_int8", option("CONV_2D", "strideH", 1 << 30), r"conv2d '\S*': output is"),
    "huge kernel": ("cnn_int8", option("MAX_POOL_2D", "filterWidth", 1 << 30), r"MAX_POOL_2D '\S*' .* pads the input"),
    "huge stride transposed": ("zoo", option("TRANSPOSE_CONV", "strideW", 1 << 30), r"TRANSPOSE_CONV '\S*' .* far beyond"),
    "slice stride": ("zoo", slice_strides, r"STRIDED_SLICE '\S*' .*a stride of a slice is 0"),
    "slice mask": ("zoo", option("STRIDED_SLICE", "newAxisMask", 1), r"STRIDED_SLICE '\S*' .*new-axis and offset"),
    "permutation": ("zoo", permutation, r"transpose '\S*': permutation \(0, 0, 0, 0\) must name each of the 4 axes"),
    "two fills": ("zoo", two_fills, r"PADV2 '\S*' .*the fill value '\S*' must be one int8 value"),
    "concatenation axis": ("zoo", option("CONCATENATION", "axis", 9), r"CONCATENATION '\S*' .*axis 9 does not exist"),
    "tiles": ("zoo", tiles, r"TILE '\S*' .*multiples \[2, 1, 1, 2, 1\] for the input .*only one axis"),
    "live weights": ("cnn_int8", live_weights, r"tensor '\S*' must be a constant|before it is written"),
    "missing weights": ("cnn_int8", missing_weights, r"CONV_2D '\S*' \(operator 0\): input 1 is missing"),
    "axes": ("two_in_two_out", mean_axes, r"MEAN '\S*' .*axis 9 does not exist in a tensor of 4"),
    "bias size": ("cnn_int8", bias_size, r"conv2d '\S*': bias 'short_bias' must be a constant of 8 int32 values"),
}  # fmt: skip
