/* Addition and subtraction with broadcasting, int8: both operands on one scale with 20 more bits, then rescaled. In place over a
 * when a has all of the output's values. */
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
    for (int32_t i = 0; i < n->count[0]; i++)
        for (int32_t j = 0; j < n->count[1]; j++)
            for (int32_t k = 0; k < n->count[2]; k++) {
                const int8_t *left = a + i * n->a_step[0] + j * n->a_step[1] + k * n->a_step[2];
                const int8_t *right = b + i * n->b_step[0] + j * n->b_step[1] + k * n->b_step[2];
                for (int32_t l = 0; l < n->count[3]; l++, left += n->a_step[3], right += n->b_step[3])
                    *y++ = add_s8_one(p, *left, *right);
            }
}

#endif
