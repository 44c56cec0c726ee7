"""LEAKY_RELU."""

from case import Case, activation, case

from pipeline.ops.leaky_relu import LeakyRelu


def leaky(alpha=0.1, *, shape=(1, 256), scales=(0.05, 0.04), zeros=(3, -5)) -> Case:
    return case(
        LeakyRelu(inputs=("x",), outputs=("y",), alpha=alpha),
        x=activation(*shape, scale=scales[0], zero=zeros[0]),
        y=activation(*shape, scale=scales[1], zero=zeros[1]),
    )


CASES = {
    "plain": leaky(),
    "image": leaky(shape=(1, 4, 5, 3)),
    "same_quant": leaky(scales=(0.05, 0.05), zeros=(3, 3)),
    "torch_default": leaky(0.01),
    "alpha_above_one": leaky(1.7),
    "alpha_negative": leaky(-0.3),
    "alpha_zero": leaky(0.0),
    "zero_points_low": leaky(zeros=(-128, -128)),
    "zero_points_high": leaky(zeros=(127, 127)),
    "saturating": leaky(scales=(0.5, 0.001)),
    **{f"scale_{i}": leaky(0.07 * i, scales=(0.0137 * i, 0.0091)) for i in range(1, 8)},
}
