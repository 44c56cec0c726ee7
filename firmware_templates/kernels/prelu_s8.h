/* Leaky relu with a slope for each value, broadcast, int8. In place over x where it has all of the output's values. */
#ifndef NN_PRELU_S8_H
#define NN_PRELU_S8_H

#include "broadcast.h"
#include "requant.h"

typedef struct {
    nn_broadcast loops;                 /* a: x, b: alpha */
    int32_t x_zero, alpha_zero, y_zero;
    int32_t multiplier, shift;          /* of x at zero and above */
    int32_t alpha_multiplier, alpha_shift; /* of x times alpha, below */
} prelu_s8_params;

static inline int8_t prelu_s8_one(const prelu_s8_params *p, int32_t x, int32_t alpha)
{
    x -= p->x_zero;
    const int32_t y = x >= 0 ? nn_requantize(x, p->multiplier, p->shift)
                             : nn_requantize(x * (alpha - p->alpha_zero), p->alpha_multiplier, p->alpha_shift);
    return (int8_t)nn_clamp(y + p->y_zero, INT8_MIN, INT8_MAX);
}

static inline void prelu_s8(const prelu_s8_params *p, const int8_t *x, const int8_t *alpha, int8_t *y)
{
    const nn_broadcast *n = &p->loops;
    for (int32_t row = 0; row < nn_broadcast_rows(n); row++) {
        const int8_t *left = x + nn_broadcast_start(n, n->a_step, row);
        const int8_t *right = alpha + nn_broadcast_start(n, n->b_step, row);
        for (int32_t i = 0; i < n->count[3]; i++, left += n->a_step[3], right += n->b_step[3])
            *y++ = prelu_s8_one(p, *left, *right);
    }
}

#endif
