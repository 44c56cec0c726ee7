"""RESHAPE."""

from case import Case, activation, case

from pipeline.ops.reshape import Reshape


def reshape(x, y, zero=3) -> Case:
    return case(Reshape(inputs=("x",), outputs=("y",)), x=activation(*x, zero=zero), y=activation(*y, zero=zero))


CASES = {
    "flatten": reshape((1, 3, 4, 5), (1, 60)),
    "unflatten": reshape((1, 60), (1, 3, 4, 5)),
    "to_vector": reshape((1, 6), (6,)),
    "rank5": reshape((1, 4, 6), (1, 2, 2, 3, 2)),
    "same_shape": reshape((1, 6), (1, 6), zero=-128),
    "odd_sizes": reshape((1, 5, 7, 3), (1, 7, 15), zero=127),
    "adds_axes_of_one": reshape((1, 6), (1, 1, 6, 1)),  # EXPAND_DIMS; the other way round SQUEEZE
    "drops_axes_of_one": reshape((1, 1, 6, 1), (1, 6)),
}
