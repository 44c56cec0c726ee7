"""PRELU."""

from case import Case, activation, case, constant

from pipeline.ops.prelu import Prelu


def prelu(x, alpha, *, scales=(0.05, 0.01, 0.04), zeros=(3, -7, -5), learnt=True) -> Case:
    return case(
        Prelu(inputs=("x", "alpha"), outputs=("y",)),
        x=activation(*x, scale=scales[0], zero=zeros[0]),
        alpha=(constant if learnt else activation)(*alpha, scale=scales[1], zero=zeros[1]),
        y=activation(*x, scale=scales[2], zero=zeros[2]),
    )


CASES = {
    "channels": prelu((1, 4, 5, 6), (1, 1, 6)),
    "one_slope": prelu((1, 4, 5, 6), (1, 1, 1)),
    "each_its_own": prelu((1, 4, 5, 6), (4, 5, 6)),
    "rows_and_channels": prelu((1, 4, 5, 6), (4, 1, 6)),
    "rank2": prelu((1, 12), (12,)),
    "given_at_run_time": prelu((1, 4, 5, 6), (1, 1, 6), learnt=False),
    "same_scales": prelu((1, 4, 5, 6), (1, 1, 6), scales=(0.05, 0.01, 0.05), zeros=(3, 0, 3)),
    "zero_points_low": prelu((1, 4, 5, 6), (1, 1, 6), zeros=(-128, -128, -128)),
    "zero_points_high": prelu((1, 4, 5, 6), (1, 1, 6), zeros=(127, 127, 127)),
    "saturating": prelu((1, 4, 5, 6), (1, 1, 6), scales=(0.5, 0.5, 0.001)),
}
