"""MEAN."""

from case import Case, activation, case

from pipeline.ops.mean import Mean


def mean(x, axes, *, keep=False, scales=(0.05, 0.02), zeros=(3, -5)) -> Case:
    y = tuple(1 if i in axes else s for i, s in enumerate(x) if keep or i not in axes)
    return case(
        Mean(inputs=("x",), outputs=("y",), axes=axes),
        x=activation(*x, scale=scales[0], zero=zeros[0]),
        y=activation(*y, scale=scales[1], zero=zeros[1]),
    )


CASES = {
    "global": mean((1, 5, 7, 6), (1, 2)),
    "global_keep": mean((1, 5, 7, 6), (1, 2), keep=True),
    "global_same_quant": mean((1, 5, 7, 6), (1, 2), scales=(0.05, 0.05), zeros=(3, 3)),
    "global_keep_same_quant": mean((1, 5, 7, 6), (1, 2), keep=True, scales=(0.05, 0.05), zeros=(3, 3)),
    "global_power_of_two": mean((1, 8, 8, 16), (1, 2)),
    "global_1x1": mean((1, 1, 1, 9), (1, 2)),
    "axes_in_other_order": mean((1, 5, 7, 6), (2, 1)),
    "first_axis": mean((5, 7), (0,)),
    "rows": mean((1, 5, 7, 6), (1,)),
    "columns": mean((1, 5, 7, 6), (2,), keep=True),
    "channels": mean((1, 5, 7, 6), (3,)),
    "outer_and_inner": mean((1, 5, 7, 6), (1, 3)),
    "all_kept_axes": mean((2, 3, 4, 5), (3,)),
    "middle_of_four": mean((2, 3, 4, 5), (1,), keep=True),
    "sequence": mean((1, 12, 5), (1,)),
    "vector": mean((1, 33), (1,)),
    "zero_points_low": mean((1, 4, 4, 5), (1, 2), zeros=(-128, -128)),
    "zero_points_high": mean((1, 4, 4, 5), (1, 2), zeros=(127, 127)),
    "zero_points_opposed": mean((1, 4, 4, 5), (1, 2), zeros=(-128, 127)),
    "scaled_up": mean((1, 4, 4, 5), (1, 2), scales=(0.5, 0.001)),
    "scaled_down": mean((1, 4, 4, 5), (1, 2), scales=(0.001, 3.0)),
    "scaled_to_nothing": mean((1, 16, 16, 2), (1, 2), scales=(1e-4, 2e5)),
    "many_values": mean((1, 64, 64, 2), (1, 2), scales=(0.05, 0.001)),
}
