"""MAXIMUM."""

from cases.add import add

from pipeline.ops.maximum import Maximum


def extremum(op, a, b=None, zero=3, **options):
    return add(a, b, op=op, scales=(0.05, 0.05, 0.05), zeros=(zero, zero, zero), **options)


def table(op):
    return {
        "plain": extremum(op, (1, 5, 4, 3)),
        "rank1": extremum(op, (7,), zero=-128),
        "constant": extremum(op, (1, 40), b_constant=True, zero=127),
        "constant_scalar": extremum(op, (1, 3, 4, 5), (1,), b_constant=True),
        "scalar_first": extremum(op, (1, 1, 1, 1), (1, 4, 5, 6)),
        "channels": extremum(op, (1, 4, 5, 6), (6,)),
        "both_alternating": extremum(op, (1, 2, 1, 3), (4, 1, 5, 1)),
    }


CASES = table(Maximum)
