/* Multiplication with broadcasting, int8. In place over the first operand where that has all of the output's values. */
#ifndef NN_MUL_S8_H
#define NN_MUL_S8_H

#include "broadcast.h"
#include "requant.h"

typedef struct {
    nn_broadcast loops;
    int32_t a_zero, b_zero, y_zero;
    int32_t multiplier, shift;
    int32_t clamp_min, clamp_max;
} mul_s8_params;

static inline int8_t mul_s8_one(const mul_s8_params *p, int32_t a, int32_t b)
{
    const int32_t product = nn_requantize((a - p->a_zero) * (b - p->b_zero), p->multiplier, p->shift) + p->y_zero;
    return (int8_t)nn_clamp(product, p->clamp_min, p->clamp_max);
}

static inline void mul_s8(const mul_s8_params *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    const nn_broadcast *n = &p->loops;
    for (int32_t row = 0; row < nn_broadcast_rows(n); row++) {
        const int8_t *left = a + nn_broadcast_start(n, n->a_step, row);
        const int8_t *right = b + nn_broadcast_start(n, n->b_step, row);
        for (int32_t i = 0; i < n->count[3]; i++, left += n->a_step[3], right += n->b_step[3])
            *y++ = mul_s8_one(p, *left, *right);
    }
}

#endif
