"""SLICE."""

from case import Case, activation, case

from pipeline.ops.slice import Slice


def box(x, begin, size) -> Case:
    return case(Slice(inputs=("x",), outputs=("y",), begin=begin), x=activation(*x), y=activation(*size))


CASES = {
    "image": box((1, 5, 6, 4), (0, 1, 2, 1), (1, 3, 2, 2)),
    "whole": box((1, 5, 6, 4), (0, 0, 0, 0), (1, 5, 6, 4)),
    "rows": box((1, 5, 6, 4), (0, 2, 0, 0), (1, 3, 6, 4)),
    "one_value": box((1, 5, 6, 4), (0, 4, 5, 3), (1, 1, 1, 1)),
    "vector": box((1, 9), (0, 3), (1, 4)),
    "rank1": box((9,), (3,), (6,)),
    "rank3": box((2, 5, 4), (1, 0, 1), (1, 5, 2)),
    "rank5": box((1, 2, 3, 4, 5), (0, 1, 0, 1, 0), (1, 1, 3, 2, 5)),
}
