"""MUL."""

from case import activation, case
from cases.add import add

from pipeline.ops.mul import Mul


def mul(a, b=None, scales=(0.05, 0.03, 0.08), **options):
    return add(a, b, op=Mul, scales=scales, **options)


CASES = {
    "plain": mul((1, 5, 4, 3)),
    "rank1": mul((7,)),
    "squared": case(Mul(inputs=("a", "a"), outputs=("y",)), a=activation(1, 40), y=activation(1, 40, scale=0.2)),
    "zero_points_low": mul((1, 40), zeros=(-128, -128, -128)),
    "zero_points_high": mul((1, 40), zeros=(127, 127, 127)),
    "zero_points_opposed": mul((1, 40), zeros=(-128, 127, 0)),
    "saturating": mul((1, 40), scales=(0.05, 0.05, 0.0001)),
    "scaled_up": mul((1, 40), scales=(1.0, 1.0, 0.3)),
    "scaled_down": mul((1, 40), scales=(1e-3, 1e-3, 1.0)),
    "relu": mul((1, 40), activation="relu"),
    "relu6": mul((1, 40), activation="relu6", zeros=(0, 0, -128)),
    "constant": mul((1, 40), b_constant=True),
    "constant_scalar": mul((1, 3, 4, 5), (1,), b_constant=True),
    "scalar_first": mul((1, 1, 1, 1), (1, 4, 5, 6)),
    "gate_of_channels": mul((1, 4, 5, 6), (1, 1, 1, 6)),
    "channels_first": mul((6,), (1, 4, 5, 6)),
    "both_alternating": mul((1, 2, 1, 3), (4, 1, 5, 1)),
}
