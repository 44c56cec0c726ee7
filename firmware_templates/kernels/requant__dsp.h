/* nn_requantize and the zero point in four instructions, for sums that pipeline/ops/_short_requant.py has looked at: twice the
 * sum fits 32 bits, and the shift is to the right by 1 to 22. The same roundings: the product's high word to nearest, then halves
 * away from zero, for which a negative sum has one less before the shift. */
#ifndef NN_REQUANT__DSP_H
#define NN_REQUANT__DSP_H

#include "nn.h"

/* What is added before the shift: half of 2^right, and the zero point. */
static inline int32_t nn_short_addend(int32_t y_zero, int32_t right)
{
    return (2 * y_zero + 1) * (1 << (right - 1));
}

/* `twice`: twice the sum. Still to be clamped. */
static inline int32_t nn_short_requantize(int32_t twice, int32_t multiplier, int32_t addend, int32_t right)
{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    int32_t high;

    __asm__("smmlar %0, %1, %2, %3" : "=r"(high) : "r"(twice), "r"(multiplier), "r"(addend));
#else
    const int32_t high = addend + (int32_t)(((int64_t)twice * multiplier + (INT64_C(1) << 31)) >> 32);
#endif
    return (high + (twice >> 31)) >> right;
}

#endif
