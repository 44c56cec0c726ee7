"""PAD and PADV2."""

from case import Case, activation, case

from pipeline.ops.pad import Pad


def pad(x, widths, *, value=None, zero=3) -> Case:
    y = tuple(s + sum(w) for s, w in zip(x, widths, strict=True))
    op = Pad(inputs=("x",), outputs=("y",), widths=widths, value=value)
    return case(op, x=activation(*x, zero=zero), y=activation(*y, zero=zero))


CASES = {
    "image": pad((1, 4, 5, 3), ((0, 0), (1, 1), (1, 1), (0, 0))),
    "uneven": pad((1, 4, 5, 3), ((0, 0), (0, 2), (3, 0), (0, 0))),
    "channels": pad((1, 4, 5, 3), ((0, 0), (0, 0), (0, 0), (1, 4))),
    "everywhere": pad((2, 3, 2, 3), ((1, 2), (2, 1), (1, 3), (3, 2))),
    "nothing": pad((1, 4, 5, 3), ((0, 0),) * 4),
    "rank1": pad((5,), ((2, 3),)),
    "rank2": pad((1, 7), ((0, 0), (4, 2))),
    "rank3": pad((1, 7, 3), ((0, 0), (4, 2), (1, 0))),
    "zero_point_low": pad((1, 2, 2, 2), ((0, 0), (1, 1), (1, 1), (0, 0)), zero=-128),
    "zero_point_high": pad((1, 2, 2, 2), ((0, 0), (1, 1), (1, 1), (0, 0)), zero=127),
    "value": pad((1, 4, 5, 3), ((0, 0), (1, 1), (1, 1), (0, 0)), value=-77),
    "value_lowest": pad((1, 4, 5, 3), ((0, 0), (1, 2), (2, 1), (0, 0)), value=-128),
    "value_of_rank2": pad((1, 7), ((0, 0), (4, 2)), value=127),
}
