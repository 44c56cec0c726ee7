"""SUB."""

from case import activation, case
from cases.add import add

from pipeline.ops.sub import Sub


def sub(a, b=None, **options):
    return add(a, b, op=Sub, **options)


CASES = {
    "plain": sub((1, 5, 4, 3)),
    "rank1": sub((7,)),
    "equal_scales": sub((1, 40), scales=(0.05, 0.05, 0.05), zeros=(0, 0, 0)),
    "from_itself": case(Sub(inputs=("a", "a"), outputs=("y",)), a=activation(1, 40), y=activation(1, 40, scale=0.1)),
    "uneven_scales": sub((1, 40), scales=(1.0, 1e-4, 0.9)),
    "zero_points_low": sub((1, 40), zeros=(-128, -128, -128)),
    "zero_points_high": sub((1, 40), zeros=(127, 127, 127)),
    "zero_points_opposed": sub((1, 40), zeros=(-128, 127, 0)),
    "saturating": sub((1, 40), scales=(0.05, 0.05, 0.001)),
    "fine_output": sub((1, 40), scales=(0.05, 0.05, 1.1e-7)),
    "relu": sub((1, 40), activation="relu"),
    "relu6": sub((1, 40), activation="relu6", scales=(0.1, 0.1, 0.04), zeros=(0, 0, -128)),
    "constant": sub((1, 40), b_constant=True),
    "constant_first": sub((1, 40), a_constant=True),
    "scalar": sub((1, 4, 5, 6), (1,)),
    "scalar_first": sub((1, 1, 1, 1), (1, 4, 5, 6)),
    "channels": sub((1, 4, 5, 6), (6,)),
    "channels_first": sub((6,), (1, 4, 5, 6)),
    "both_alternating": sub((1, 2, 1, 3), (4, 1, 5, 1)),
}
