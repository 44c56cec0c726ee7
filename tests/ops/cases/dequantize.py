"""DEQUANTIZE."""

from case import Case, activation, case

from pipeline.ir import Tensor
from pipeline.ops.dequantize import Dequantize


def dequantize(shape=(1, 256), *, scale=0.05, zero=3) -> Case:
    op = Dequantize(inputs=("x",), outputs=("y",))
    return case(op, x=activation(*shape, scale=scale, zero=zero), y=Tensor(shape, "float32"))


CASES = {
    "plain": dequantize(),
    "image": dequantize((1, 4, 5, 3)),
    "probabilities": dequantize((1, 10), scale=1 / 256, zero=-128),
    "zero_point_high": dequantize(zero=127, scale=0.1),
    "tiny": dequantize(scale=1e-30),
}
