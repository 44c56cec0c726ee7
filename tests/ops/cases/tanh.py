"""TANH."""

from functools import partial

from cases.logistic import sigmoid

from pipeline.ops.tanh import Tanh

tanh = partial(sigmoid, op=Tanh, y_scale=1 / 128, y_zero=0)

CASES = {
    "plain": tanh(),
    "image": tanh((1, 4, 5, 3)),
    "zero_point_low": tanh(zero=-128),
    "zero_point_high": tanh(zero=127),
    "fine": tanh(scale=1e-4),
    "finest": tanh(scale=2**-28),
    "coarse": tanh(scale=1.3),
    "one_step_saturates": tanh(scale=15.9),
    "power_of_two": tanh(scale=0.0625, zero=0),
    **{f"scale_{i}": tanh(scale=0.0131 * 1.5**i, zero=-128 + 17 * i) for i in range(14)},
}
