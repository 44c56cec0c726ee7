"""THE tolerance table: how far a run outside our own kernels may be from the integer reference, and why it is at all.

Differences count in LSB: steps of the tensor's own int8 quantisation. Generated C, firmware and TFLM have no entry: they
must be equal byte for byte. What is measured is reported beside these limits (`pipeline.codegen.agreement`).
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

ONNXRUNTIME_LAYER: dict[str, Tolerance] = {
    "add": Tolerance(
        1, "added in float32 and rounded once; the reference adds with 20 fraction bits and rounds three times"
    ),
    "average_pool2d": Tolerance(1, "averaged in float32, halves to even; the reference rounds halves away from zero"),
    "conv2d": Tolerance(1, _FLOAT_REQUANT),
    "depthwise_conv2d": Tolerance(1, _FLOAT_REQUANT),
    "fully_connected": Tolerance(1, _FLOAT_REQUANT),
    "max_pool2d": Tolerance(0, _EXACT),
    "mean": Tolerance(
        1, "averaged in float32 and rounded once; the reference rounds twice, its multiplier is cut to 31 bits"
    ),
    "pad": Tolerance(0, _EXACT),
    "quantize": Tolerance(1, _FLOAT_REQUANT),
    "relu": Tolerance(1, _FLOAT_REQUANT),
    "relu6": Tolerance(0, _EXACT),
    "reshape": Tolerance(0, _EXACT),
    "softmax": Tolerance(
        1, "exponentials in float32; the reference's are 31-bit fixed point, its quotient rounded once more"
    ),
}
"""By the operator's kind, ONNX Runtime's integer kernels on Arm and x86 (VNNI, or precision mode)."""

ONNXRUNTIME_TOP1 = 0.003
"""Of a test set's top-1 accuracy, as a fraction: 0.3 points. Differences of one LSB grow through the layers and swap classes
whose scores are neighbours; on average they swap as often to the better."""
