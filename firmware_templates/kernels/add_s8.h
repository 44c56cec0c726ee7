/* Addition and subtraction with broadcasting, int8: both operands on one scale with 20 more bits, then rescaled. In place
 * over the first operand where that has all of the output's values. */
#ifndef NN_ADD_S8_H
#define NN_ADD_S8_H

#include "broadcast.h"
#include "requant.h"

typedef struct {
    nn_broadcast loops;
    int32_t a_zero, a_multiplier, a_shift;
    int32_t b_zero, b_multiplier, b_shift, b_sign; /* b_sign: 1 adds, -1 subtracts */
    int32_t y_zero, y_multiplier, y_shift;
    int32_t clamp_min, clamp_max;
} add_s8_params;

static inline int8_t add_s8_one(const add_s8_params *p, int32_t a, int32_t b)
{
    const int32_t scaled_a = nn_requantize((a - p->a_zero) * (1 << 20), p->a_multiplier, p->a_shift);
    const int32_t scaled_b = nn_requantize((b - p->b_zero) * (1 << 20), p->b_multiplier, p->b_shift);
    const int32_t sum = nn_requantize(scaled_a + p->b_sign * scaled_b, p->y_multiplier, p->y_shift) + p->y_zero;
    return (int8_t)nn_clamp(sum, p->clamp_min, p->clamp_max);
}

static inline void add_s8(const add_s8_params *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    const nn_broadcast *n = &p->loops;
    for (int32_t row = 0; row < nn_broadcast_rows(n); row++) {
        const int8_t *left = a + nn_broadcast_start(n, n->a_step, row);
        const int8_t *right = b + nn_broadcast_start(n, n->b_step, row);
        for (int32_t i = 0; i < n->count[3]; i++, left += n->a_step[3], right += n->b_step[3])
            *y++ = add_s8_one(p, *left, *right);
    }
}

#endif
