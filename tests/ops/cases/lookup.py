"""A table of 256 values; in a .tflite file CAST, ADD and GATHER."""

import numpy as np
from case import Case, activation, case

from pipeline.ops.lookup import Lookup, lookup_table


def lookup(f, shape=(1, 256), *, scales=(0.05, 0.04), zeros=(3, -5)) -> Case:
    x, y = activation(*shape, scale=scales[0], zero=zeros[0]), activation(*shape, scale=scales[1], zero=zeros[1])
    return case(Lookup(inputs=("x",), outputs=("y",), table=lookup_table(f, x, y)), x=x, y=y)


CASES = {
    "silu": lookup(lambda x: x / (1 + np.exp(-x))),
    "gelu": lookup(lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    "elu": lookup(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "image": lookup(np.negative, (1, 4, 5, 3)),
    "zero_points_low": lookup(np.abs, zeros=(-128, -128)),
    "saturating": lookup(np.exp, scales=(0.1, 0.001)),
}
