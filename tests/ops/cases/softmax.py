"""SOFTMAX."""

from case import CONSTANT, Case, activation, case

from pipeline.ops.softmax import Softmax


def softmax(*shape, scale=0.05, zero=3, beta=1.0, tflm_skips=()) -> Case:
    y = activation(*shape, scale=1 / 256, zero=-128)
    op = Softmax(inputs=("x",), outputs=("y",), beta=beta)
    return case(op, tflm_skips=tflm_skips, x=activation(*shape, scale=scale, zero=zero), y=y)


CASES = {
    "ten": softmax(1, 10),
    "two": softmax(1, 2),
    "one": softmax(1, 1),
    "rank1": softmax(7),
    "rows": softmax(1, 5, 6),
    "image": softmax(1, 3, 4, 5),
    "many": softmax(1, 511, scale=0.02),
    # TFLM aborts when a row's sum passes 512 times its largest term.
    "thousand": softmax(1, 1000, scale=0.3, tflm_skips=CONSTANT),
    "longest_row": softmax(1, 4095, scale=0.5, tflm_skips=(*CONSTANT, 3, 8)),
    "coarse": softmax(1, 10, scale=0.5),
    "very_coarse": softmax(1, 10, scale=40.0),
    "capped": softmax(1, 10, scale=1e3),
    "fine": softmax(1, 10, scale=1e-4),
    "zero_point_low": softmax(1, 7, zero=-128),
    "zero_point_high": softmax(1, 7, zero=127),
    "finest": softmax(1, 10, scale=1.6e-8),
    "beta": softmax(1, 10, beta=0.37),
    "beta_large": softmax(1, 10, beta=30.0),
    **{f"scale_{i}": softmax(1, 12, scale=0.0131 * 1.7**i, zero=-128 + 20 * i) for i in range(12)},
}
