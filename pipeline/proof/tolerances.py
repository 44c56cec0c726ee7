"""THE tolerance table: how far a run outside our own kernels may be from the integer reference, and why it is at all.

Differences count in LSB: steps of the tensor's own int8 quantisation. Generated C, firmware and TFLM have no entry: they
must be equal byte for byte. What is measured is reported beside these limits (`pipeline.proof.onnxruntime`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """`lsb`: the largest difference of one value of one layer, given the reference's own inputs."""

    lsb: int
    reason: str


_FLOAT_REQUANT = (
    "ONNX Runtime multiplies the int32 sum by one float32 scale and rounds halves to even; the reference multiplies by a "
    "31-bit integer and rounds twice, halves away from zero: at most the neighbouring value"
)
_EXACT = "moves or compares stored values: no arithmetic"

_SUM = "computed in float32 and rounded once; the reference brings both sides to one scale and rounds three times"
_FUNCTION = "evaluated in float32; the reference's is 16- or 31-bit fixed point, rounded once more"
_MEAN = "averaged in float32, halves to even; the reference rounds halves away from zero, and mean cuts its multiplier short"

ONNXRUNTIME_LAYER: dict[str, Tolerance] = {
    "add": Tolerance(1, _SUM),
    "average_pool2d": Tolerance(1, _MEAN),
    "concatenation": Tolerance(0, _EXACT),
    "conv2d": Tolerance(1, _FLOAT_REQUANT),
    "depthwise_conv2d": Tolerance(1, _FLOAT_REQUANT),
    "dequantize": Tolerance(0, "the same float32 product"),
    "fully_connected": Tolerance(1, _FLOAT_REQUANT),
    "hard_swish": Tolerance(1, _FUNCTION),
    "leaky_relu": Tolerance(1, _FLOAT_REQUANT),
    "logistic": Tolerance(1, _FUNCTION),
    "lookup": Tolerance(0, _EXACT),
    "max_pool2d": Tolerance(0, _EXACT),
    "maximum": Tolerance(0, _EXACT),
    "mean": Tolerance(1, _MEAN),
    "minimum": Tolerance(0, _EXACT),
    "mul": Tolerance(1, _FLOAT_REQUANT),
    "pad": Tolerance(0, _EXACT),
    "prelu": Tolerance(1, _FLOAT_REQUANT),
    "quantize": Tolerance(1, _FLOAT_REQUANT),
    "relu": Tolerance(1, _FLOAT_REQUANT),
    "relu6": Tolerance(0, _EXACT),
    "reshape": Tolerance(0, _EXACT),
    "resize_nearest_neighbor": Tolerance(0, _EXACT),
    "slice": Tolerance(0, _EXACT),
    "softmax": Tolerance(1, _FUNCTION),
    "split": Tolerance(0, _EXACT),
    "strided_slice": Tolerance(0, _EXACT),
    "sub": Tolerance(1, _SUM),
    "tanh": Tolerance(1, _FUNCTION),
    "transpose": Tolerance(0, _EXACT),
    "transpose_conv": Tolerance(1, _FLOAT_REQUANT),
}
"""By the operator's kind, ONNX Runtime's integer kernels on Arm and x86 (VNNI, or precision mode)."""

ONNXRUNTIME_TOP1 = 0.003
"""Of a test set's top-1 accuracy, as a fraction: 0.3 points. Differences of one LSB grow through the layers and swap classes
whose scores are neighbours; on average they swap as often to the better."""

LITERT_OPTIMISED = Tolerance(
    4,
    "LiteRT's optimised convolutions round once where the reference rounds twice: one step a layer, which layers behind it "
    "carry on. Asked only for a file that neither TFLM nor LiteRT's reference kernels can run",
)
"""Of a user's own file, from its inputs to its outputs."""

_ONCE = "the source computes it in float32 and rounds once, halves to even; a tie, or nearly one, can go the other way"

SOURCE_LAYER: dict[str, Tolerance] = {
    **ONNXRUNTIME_LAYER,
    "input": Tolerance(1, _ONCE),
    "lookup": Tolerance(1, _ONCE),
    "concatenation": Tolerance(1, "values of several scales are brought to one: " + _ONCE),
}
"""By the operator's kind, of a user's own .onnx file or quantised torch graph that computes in float32 between quantised
values. The allowances of operators add up from one value that the source knows to the next. What was seen is at most 1."""

FLOAT_MODEL_DB = 3.0
"""The least ratio of signal to noise of int8 answers to the float model's, on the samples that it was calibrated with,
unless the error is below one step. Answers that have nothing to do with each other have 0 or less, the importer's test nets
34 to 47."""
