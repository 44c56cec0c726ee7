"""RELU6."""

from case import Case, activation, case

from pipeline.ops.relu6 import Relu6


def relu6(shape=(1, 256), *, scale=0.05, zero=-20) -> Case:
    t = activation(*shape, scale=scale, zero=zero)
    return case(Relu6(inputs=("x",), outputs=("y",)), x=t, y=t)


CASES = {
    "plain": relu6(),
    "image": relu6((1, 4, 5, 3)),
    "zero_point_low": relu6(zero=-128, scale=6 / 255),
    "zero_point_high": relu6(zero=127),
    "six_out_of_reach": relu6(scale=0.01),
    "six_rounds_up": relu6(scale=6 / 50.5),
    "coarse": relu6(scale=5.0),
}
