"""STRIDED_SLICE."""

from case import Case, activation, case

from pipeline.ops.strided_slice import StridedSlice


def strided(x, begin, end, strides, shrink=()) -> Case:
    counts = (len(range(b, e, s)) for b, e, s in zip(begin, end, strides, strict=True))
    y = activation(*(c for i, c in enumerate(counts) if i not in shrink))
    op = StridedSlice(inputs=("x",), outputs=("y",), begin=begin, end=end, strides=strides, shrink=shrink)
    return case(op, x=activation(*x), y=y)


CASES = {
    "every_second": strided((1, 6, 7, 4), (0, 0, 0, 0), (1, 6, 7, 4), (1, 2, 2, 1)),
    "offset": strided((1, 6, 7, 4), (0, 1, 2, 1), (1, 6, 7, 3), (1, 2, 3, 1)),
    "plain_box": strided((1, 6, 7, 4), (0, 1, 2, 1), (1, 4, 5, 3), (1, 1, 1, 1)),
    "every_second_channel": strided((1, 3, 3, 8), (0, 0, 0, 1), (1, 3, 3, 8), (1, 1, 1, 2)),
    "backwards": strided((1, 4, 5, 3), (0, 0, 4, 0), (1, 4, -1, 3), (1, 1, -1, 1)),
    "backwards_by_two": strided((1, 9), (0, 7), (1, 1), (1, -2)),
    "backwards_without_the_first": strided((1, 8), (0, 7), (1, 0), (1, -1)),
    "all_backwards": strided((2, 3, 4), (1, 2, 3), (-1, -1, -1), (-1, -1, -1)),
    "last_step": strided((1, 4, 3), (0, 3, 0), (1, 4, 3), (1, 1, 1), shrink=(1,)),
    "one_pixel": strided((1, 4, 5, 3), (0, 2, 4, 0), (1, 3, 5, 3), (1, 1, 1, 1), shrink=(1, 2)),
    "rank1": strided((9,), (2,), (9,), (3,)),
}
