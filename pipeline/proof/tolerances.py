"""THE tolerance table: how far a run outside our own kernels may be from the integer reference, and why it is at all.

Differences count in LSB: steps of the tensor's own int8 quantisation. Generated C, firmware and TFLM have no entry: they
must be equal byte for byte. What is measured is reported beside these limits (`pipeline.proof.onnxruntime`).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.ir import Op, Rounding


@dataclass(frozen=True, slots=True)
class Tolerance:
    """`lsb`: the largest difference of one value of one layer, given the reference's own inputs."""

    lsb: int
    reason: str


_FLOAT_REQUANT = (
    "ONNX Runtime multiplies the int32 sum by one float32 scale and rounds halves to even; the reference multiplies by a "
    "31-bit integer and rounds twice, halves away from zero: at most the neighbouring value"
)
_ONCE = "the source computes it in float32 and rounds once, halves to even; a tie, or nearly one, can go the other way"

_SUM = "computed in float32 and rounded once; the reference brings both sides to one scale and rounds three times"
_FUNCTION = "evaluated in float32; the reference's is 16- or 31-bit fixed point, rounded once more"
_MEAN = "averaged in float32, halves to even; the reference rounds halves away from zero, and mean cuts its multiplier short"

LAYER: dict[Rounding, Tolerance] = {
    "exact": Tolerance(0, "moves or compares stored values: no arithmetic"),
    "product": Tolerance(0, "the same float32 product"),
    "requant": Tolerance(1, _FLOAT_REQUANT),
    "sum": Tolerance(1, _SUM),
    "function": Tolerance(1, _FUNCTION),
    "mean": Tolerance(1, _MEAN),
    "once": Tolerance(1, _ONCE),
    "rescaled": Tolerance(1, "values of several scales are brought to one: " + _ONCE),
}
"""By what an operator says of itself (`Op.rounding`): ONNX Runtime's integer kernels on Arm and x86 (VNNI, or precision
mode)."""


def onnxruntime_layer(op: Op) -> Tolerance:
    """Of one operator in an .onnx file of ours."""
    return LAYER[op.rounding]


def source_layer(op: Op) -> Tolerance:
    """Of one operator of a user's own .onnx file or quantised torch graph that computes in float32 between quantised values.
    The allowances of operators add up from one value that the source knows to the next. What was seen is at most 1."""
    return LAYER[op.rounding_in_source or op.rounding]


SOURCE_INPUT = LAYER["once"]
"""Of what such a file makes of its input."""

ONNXRUNTIME_TOP1 = 0.003
"""Of a test set's top-1 accuracy, as a fraction: 0.3 points. Differences of one LSB grow through the layers and swap classes
whose scores are neighbours; on average they swap as often to the better."""

LITERT_OPTIMISED = Tolerance(
    4,
    "LiteRT's optimised convolutions round once where the reference rounds twice: one step a layer, which layers behind it "
    "carry on. Asked only for a file that neither TFLM nor LiteRT's reference kernels can run",
)
"""Of a user's own file, from its inputs to its outputs."""

FLOAT_MODEL_DB = 3.0
"""The least ratio of signal to noise of int8 answers to the float model's, on the samples that it was calibrated with,
unless the error is below one step. Answers that have nothing to do with each other have 0 or less, the importer's test nets
34 to 47."""
