"""LOGISTIC."""

from case import Case, activation, case

from pipeline.ops.logistic import Logistic


def sigmoid(shape=(1, 256), *, op=Logistic, scale=0.05, zero=3, y_scale=1 / 256, y_zero=-128) -> Case:
    x, y = activation(*shape, scale=scale, zero=zero), activation(*shape, scale=y_scale, zero=y_zero)
    return case(op(inputs=("x",), outputs=("y",)), x=x, y=y)


CASES = {
    "plain": sigmoid(),
    "image": sigmoid((1, 4, 5, 3)),
    "zero_point_low": sigmoid(zero=-128),
    "zero_point_high": sigmoid(zero=127),
    "fine": sigmoid(scale=1e-4),
    "finest": sigmoid(scale=2**-28),
    "coarse": sigmoid(scale=1.3),
    "very_coarse": sigmoid(scale=15.0),
    "one_step_saturates": sigmoid(scale=15.9),
    "power_of_two": sigmoid(scale=0.0625, zero=0),
    **{f"scale_{i}": sigmoid(scale=0.0131 * 1.5**i, zero=-128 + 17 * i) for i in range(14)},
}
