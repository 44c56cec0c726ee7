"""CONCATENATION."""

from case import Case, activation, case, constant

from pipeline.ops.concatenation import Concatenation


def concatenation(*shapes, axis, constants=()) -> Case:
    names = tuple(f"x{i}" for i in range(len(shapes)))
    parts = {n: (constant if i in constants else activation)(*s) for i, (n, s) in enumerate(zip(names, shapes, strict=True))}
    total = sum(s[axis] for s in shapes)
    y = activation(*(total if i == axis else s for i, s in enumerate(shapes[0])))
    return case(Concatenation(inputs=names, outputs=("y",), axis=axis), **parts, y=y)


CASES = {
    "channels": concatenation((1, 3, 4, 5), (1, 3, 4, 2), axis=3),
    "rows": concatenation((1, 3, 4, 5), (1, 1, 4, 5), axis=1),
    "columns": concatenation((1, 3, 4, 5), (1, 3, 2, 5), (1, 3, 1, 5), axis=2),
    "vectors": concatenation((1, 7), (1, 3), axis=1),
    "outermost": concatenation((2, 3), (1, 3), axis=0),
    "rank5": concatenation((1, 2, 3, 2, 2), (1, 2, 3, 1, 2), axis=3),
    "ten": concatenation(*[(1, i + 1) for i in range(10)], axis=1),
    "with_constant": concatenation((1, 3, 4), (1, 2, 4), axis=1, constants=(1,)),
    "one": concatenation((1, 5), axis=1),
    "twice_the_same": case(Concatenation(inputs=("x", "x"), outputs=("y",), axis=1), x=activation(1, 4), y=activation(1, 8)),
}
