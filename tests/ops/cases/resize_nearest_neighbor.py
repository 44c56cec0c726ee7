"""RESIZE_NEAREST_NEIGHBOR."""

from case import Case, activation, case

from pipeline.ops.resize_nearest_neighbor import ResizeNearestNeighbor


def resize(x, size, channels=3, **attributes) -> Case:
    op = ResizeNearestNeighbor(inputs=("x",), outputs=("y",), **attributes)
    return case(op, x=activation(1, *x, channels), y=activation(1, *size, channels))


CASES = {
    "twice": resize((3, 4), (6, 8)),
    "three_times_wide": resize((3, 4), (3, 12)),
    "half": resize((6, 8), (3, 4)),
    "odd": resize((5, 7), (8, 9)),
    "smaller_odd": resize((9, 11), (4, 7)),
    "from_one_pixel": resize((1, 1), (4, 5)),
    "to_one_pixel": resize((4, 5), (1, 1)),
    "align_corners": resize((5, 4), (9, 10), align_corners=True),
    "align_corners_smaller": resize((9, 10), (4, 3), align_corners=True),
    "align_corners_to_one": resize((9, 10), (1, 3), align_corners=True),
    "half_pixel_centers": resize((5, 4), (9, 10), half_pixel_centers=True),
    "half_pixel_centers_smaller": resize((9, 10), (4, 3), half_pixel_centers=True),
    "many_channels": resize((2, 2), (4, 4), 40),
    "large": resize((3, 5), (101, 97), 1),
}
