/* Fixed-point requantisation: the same two roundings as TensorFlow Lite Micro (tensorflow/lite/kernels/internal/common.h,
 * gemmlowp/fixedpoint/fixedpoint.h, without TFLITE_SINGLE_ROUNDING). pipeline/fixedpoint.py is its twin in Python. */
#ifndef NN_REQUANT_H
#define NN_REQUANT_H

#include "nn.h"

/* The high 32 bits of 2*a*b, rounded to nearest. Not for INT32_MIN times itself, the one product that does not fit and that
 * gemmlowp saturates: one of the operands is a multiplier, an exponential or a constant, and none of them is INT32_MIN. */
static inline int32_t nn_doubling_high_mul(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

/* x / 2^exponent, rounded to nearest, halves away from zero. 0 <= exponent <= 31; x > INT32_MIN, as products are. */
static inline int32_t nn_rounding_shift_right(int32_t x, int32_t exponent)
{
    if (exponent == 0)
        return x;
    const int32_t doubled = (x - (x < 0)) >> (exponent - 1);
    return (doubled >> 1) + (doubled & 1);
}

/* acc * multiplier * 2^(shift - 31). The left shift wraps, as it does in TFLM. */
static inline int32_t nn_requantize(int32_t acc, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    return nn_rounding_shift_right(nn_doubling_high_mul((int32_t)((uint32_t)acc << left), multiplier), right);
}

#endif
