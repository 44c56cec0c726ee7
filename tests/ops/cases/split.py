"""SPLIT and SPLIT_V."""

from case import Case, activation, case

from pipeline.ops.split import Split


def split(x, sizes, axis) -> Case:
    names = tuple(f"y{i}" for i in range(len(sizes)))
    parts = {
        n: activation(*(size if i == axis else s for i, s in enumerate(x))) for n, size in zip(names, sizes, strict=True)
    }
    return case(Split(inputs=("x",), outputs=names, axis=axis), x=activation(*x), **parts)


CASES = {
    "channels": split((1, 3, 4, 6), (3, 3), 3),
    "rows": split((1, 6, 4, 2), (2, 2, 2), 1),
    "columns": split((1, 2, 6, 2), (1,) * 6, 2),
    "outermost": split((4, 3), (2, 2), 0),
    "whole": split((1, 5), (5,), 1),
    "uneven": split((1, 3, 4, 6), (1, 3, 2), 3),
    "uneven_rows": split((1, 6, 4, 2), (4, 2), 1),
}
