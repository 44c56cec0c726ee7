"""TRANSPOSE."""

from case import Case, activation, case

from pipeline.ops.transpose import Transpose


def transpose(x, permutation) -> Case:
    y = tuple(x[i] for i in permutation)
    return case(Transpose(inputs=("x",), outputs=("y",), permutation=permutation), x=activation(*x), y=activation(*y))


CASES = {
    "matrix": transpose((4, 7), (1, 0)),
    "nhwc_to_nchw": transpose((1, 3, 4, 5), (0, 3, 1, 2)),
    "nchw_to_nhwc": transpose((1, 5, 3, 4), (0, 2, 3, 1)),
    "reversed": transpose((2, 3, 4, 5), (3, 2, 1, 0)),
    "swapped_pairs": transpose((2, 3, 4, 5), (1, 0, 3, 2)),
    "sequence": transpose((1, 6, 5), (0, 2, 1)),
    "nothing": transpose((1, 3, 4, 5), (0, 1, 2, 3)),
    "only_ones_move": transpose((1, 1, 4, 5), (2, 0, 1, 3)),
    "rank5": transpose((1, 2, 3, 4, 5), (0, 1, 4, 2, 3)),
}
