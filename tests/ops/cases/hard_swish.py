"""HARD_SWISH."""

from case import Case, activation, case

from pipeline.ops.hard_swish import HardSwish


def hard_swish(shape=(1, 256), *, scales=(0.05, 0.04), zeros=(3, -5)) -> Case:
    return case(
        HardSwish(inputs=("x",), outputs=("y",)),
        x=activation(*shape, scale=scales[0], zero=zeros[0]),
        y=activation(*shape, scale=scales[1], zero=zeros[1]),
    )


CASES = {
    "plain": hard_swish(),
    "image": hard_swish((1, 4, 5, 3)),
    "same_quant": hard_swish(scales=(0.05, 0.05), zeros=(3, 3)),
    "zero_points_low": hard_swish(zeros=(-128, -128)),
    "zero_points_high": hard_swish(zeros=(127, 127)),
    "range_of_three": hard_swish(scales=(3 / 128, 3 / 128), zeros=(0, 0)),
    "reluish_not_shifted": hard_swish(scales=(0.01, 0.008)),
    "coarse": hard_swish(scales=(1.5, 1.3), zeros=(0, -120)),
    "very_coarse": hard_swish(scales=(40.0, 40.0), zeros=(0, 0)),
    "fine": hard_swish(scales=(0.001, 0.001)),
    "finest": hard_swish(scales=(1e-6, 1e-6)),
    "saturating": hard_swish(scales=(0.1, 0.001)),
    **{f"scale_{i}": hard_swish(scales=(0.0131 * 1.5**i, 0.0117 * 1.5**i), zeros=(-128 + 17 * i, 9)) for i in range(14)},
}
