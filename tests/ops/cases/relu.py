"""RELU."""

from case import Case, activation, case

from pipeline.ops.relu import Relu


def relu(shape=(1, 256), *, scales=(0.05, 0.05), zeros=(3, 3)) -> Case:
    return case(
        Relu(inputs=("x",), outputs=("y",)),
        x=activation(*shape, scale=scales[0], zero=zeros[0]),
        y=activation(*shape, scale=scales[1], zero=zeros[1]),
    )


CASES = {
    "same_quant": relu(),
    "image": relu((1, 4, 5, 3)),
    "finer": relu(scales=(0.05, 0.03), zeros=(3, -128)),
    "coarser": relu(scales=(0.03, 0.05), zeros=(3, -128)),
    "zero_points_low": relu(zeros=(-128, -128)),
    "zero_points_high": relu(zeros=(127, 127)),
    "zero_points_opposed": relu(zeros=(127, -128)),
    "saturating": relu(scales=(1.0, 1e-3)),
}
