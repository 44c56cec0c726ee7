/* Softmax along the last axis, int8 to int8 at scale 1/256, zero point -128. gemmlowp's fixed-point arithmetic: a value Q<i>
 * is an int32 with i integer bits. exp of every possible difference to the row's maximum is in a table. May run in place. */
#ifndef NN_SOFTMAX_S8_H
#define NN_SOFTMAX_S8_H

#include "requant.h"

typedef struct {
    int32_t rows, depth;
    int32_t exp_count;
    const int32_t *exp;                 /* Q0 exp(0), exp(-1 step), ...; past exp_count it counts as zero */
} softmax_s8_params;

static inline int32_t nn_shift_left_saturated(int32_t x, int32_t bits)
{
    if (x > INT32_MAX >> bits)
        return INT32_MAX;
    if (x < INT32_MIN >> bits)
        return INT32_MIN;
    return x * (1 << bits);
}

/* Q0 1 / (1 + x) of Q0 x in [0, 1): three Newton-Raphson steps in Q2 from 48/17 - 32/17 d, d = (1 + x) / 2. */
static inline int32_t nn_one_over_one_plus_x(int32_t x)
{
    const int32_t d = (int32_t)(((int64_t)x + INT32_MAX + 1) >> 1);
    int32_t r = 1515870810 + nn_doubling_high_mul(d, -1010580540);
    for (int32_t i = 0; i < 3; i++)
        r += nn_shift_left_saturated(nn_doubling_high_mul(r, (1 << 29) - nn_doubling_high_mul(d, r)), 2);
    return nn_shift_left_saturated(r, 1);
}

static inline void softmax_s8(const softmax_s8_params *p, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < p->rows; row++, x += p->depth, y += p->depth) {
        int32_t largest = x[0];
        for (int32_t c = 1; c < p->depth; c++)
            largest = nn_max(largest, x[c]);

        uint32_t sum = 0; /* Q12, at least exp(0) */
        for (int32_t c = 0; c < p->depth; c++)
            if (largest - x[c] < p->exp_count)
                sum += (uint32_t)nn_rounding_shift_right(p->exp[largest - x[c]], 12);

        int32_t headroom = 0; /* leading zeros of the sum */
        while (!(sum & UINT32_C(0x80000000))) {
            sum <<= 1;
            headroom++;
        }
        const int32_t scale = nn_one_over_one_plus_x((int32_t)(sum - UINT32_C(0x80000000)));
        const int32_t exponent = 12 - headroom + 31 - 8;

        for (int32_t c = 0; c < p->depth; c++) {
            int32_t q = -128;
            if (largest - x[c] < p->exp_count && exponent < 32) /* beyond, everything rounds to zero */
                q += nn_rounding_shift_right(nn_doubling_high_mul(scale, p->exp[largest - x[c]]), exponent);
            y[c] = (int8_t)nn_min(q, 127);
        }
    }
}

#endif
