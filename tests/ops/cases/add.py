"""ADD."""

from case import Case, activation, case, constant

from pipeline.ops.add import Add


def add(
    a, b=None, *, scales=(0.05, 0.03, 0.06), zeros=(3, -7, -5), b_constant=False, a_constant=False, op=Add, **attributes
) -> Case:
    b = b or a
    rank = max(len(a), len(b))
    shape = tuple(map(max, (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b))
    return case(
        op(inputs=("a", "b"), outputs=("y",), **attributes),
        a=(constant if a_constant else activation)(*a, scale=scales[0], zero=zeros[0]),
        b=(constant if b_constant else activation)(*b, scale=scales[1], zero=zeros[1]),
        y=activation(*shape, scale=scales[2], zero=zeros[2]),
    )


BROADCAST = {
    "scalar": add((1, 4, 5, 6), (1,)),
    "scalar_first": add((1, 1, 1, 1), (1, 4, 5, 6)),
    "channels": add((1, 4, 5, 6), (6,)),
    "channels_first": add((6,), (1, 4, 5, 6)),
    "rows": add((1, 4, 5, 6), (1, 4, 1, 1)),
    "both": add((1, 4, 1, 6), (1, 1, 5, 1)),
    "both_alternating": add((1, 2, 1, 3), (4, 1, 5, 1)),
    "constant_channels": add((1, 4, 5, 6), (6,), b_constant=True),
    "constant_first": add((1, 1, 1, 6), (1, 4, 5, 6), a_constant=True),
}

CASES = {
    "plain": add((1, 5, 4, 3)),
    "uneven": add((1, 5, 3, 3), scales=(0.0513, 0.0297, 0.0611)),
    "uneven_relu": add((1, 33), scales=(0.0513, 0.0297, 0.0411), zeros=(-128, 11, -128), activation="relu"),
    "uneven_relu_above": add((1, 33), scales=(0.0513, 0.0297, 0.0411), activation="relu"),
    "uneven_constant": add((1, 42), scales=(0.0513, 0.0297, 0.0611), b_constant=True),
    "rank1": add((7,)),
    "rank2": add((1, 33)),
    "equal_scales": add((1, 40), scales=(0.05, 0.05, 0.05), zeros=(0, 0, 0)),
    "twice_the_same": case(Add(inputs=("a", "a"), outputs=("y",)), a=activation(1, 40), y=activation(1, 40, scale=0.1)),
    "uneven_scales": add((1, 40), scales=(1.0, 1e-4, 0.9)),
    "tiny_scale_of_a": add((1, 40), scales=(1e-9, 1.0, 1.0)),
    "zero_points_low": add((1, 40), zeros=(-128, -128, -128)),
    "zero_points_high": add((1, 40), zeros=(127, 127, 127)),
    "zero_points_opposed": add((1, 40), zeros=(-128, 127, 0)),
    "saturating": add((1, 40), scales=(0.05, 0.05, 0.001)),
    "fine_output": add((1, 40), scales=(0.05, 0.05, 1.1e-7)),
    "coarse_output": add((1, 40), scales=(0.05, 0.05, 30.0)),
    "relu": add((1, 40), activation="relu"),
    "relu_n1_to_1": add((1, 40), activation="relu_n1_to_1", scales=(0.1, 0.1, 0.02)),
    "relu6": add((1, 40), activation="relu6", scales=(0.1, 0.1, 0.04), zeros=(0, 0, -128)),
    "constant": add((1, 40), b_constant=True),
    **BROADCAST,
}
