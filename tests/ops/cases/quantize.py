"""QUANTIZE."""

from case import Case, activation, case

from pipeline.ir import Tensor
from pipeline.ops.quantize import Quantize


def quantize(shape=(1, 256), *, scales=(0.05, 0.03), zeros=(3, -5), dtype="int8") -> Case:
    return case(
        Quantize(inputs=("x",), outputs=("y",)),
        x=activation(*shape, scale=scales[0], zero=zeros[0], dtype=dtype),
        y=activation(*shape, scale=scales[1], zero=zeros[1]),
    )


def from_real(shape=(1, 256), *, scale=0.05, zero=-5) -> Case:
    y = activation(*shape, scale=scale, zero=zero)
    return case(Quantize(inputs=("x",), outputs=("y",)), x=Tensor(shape, "float32"), y=y)


CASES = {
    "real": from_real(),
    "real_image": from_real((1, 4, 5, 3), scale=0.3, zero=17),
    "real_halves": from_real(scale=0.6, zero=0),
    "real_zero_point_low": from_real(zero=-128),
    "real_zero_point_high": from_real(zero=127),
    "finer": quantize(),
    "coarser": quantize(scales=(0.03, 0.05)),
    "image": quantize((1, 4, 5, 3)),
    "same": quantize(scales=(0.05, 0.05), zeros=(3, 3)),
    "offset": quantize(scales=(0.05, 0.05), zeros=(-128, 127)),
    "zero_points_low": quantize(zeros=(-128, -128)),
    "zero_points_high": quantize(zeros=(127, 127)),
    "much_finer": quantize(scales=(1.0, 1e-3)),
    "beyond_32_bits": quantize(scales=(1.0, 1e-8)),
    "much_coarser": quantize(scales=(1e-3, 1.0)),
    "halves": quantize(scales=(0.5, 1.0), zeros=(0, 0)),
    "uint8_flip": quantize(dtype="uint8", scales=(0.05, 0.05), zeros=(128, 0)),
    "uint8_image": quantize(dtype="uint8", scales=(1 / 255, 1 / 127.5), zeros=(0, -128)),
    "uint8_rescaled": quantize(dtype="uint8", zeros=(200, 17)),
    "uint8_zero_points_low": quantize(dtype="uint8", zeros=(0, -128)),
    "uint8_zero_points_high": quantize(dtype="uint8", zeros=(255, 127)),
}
