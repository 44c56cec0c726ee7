/* The larger of two values with broadcasting, int8. In place over the first operand where that has all of the output's values. */
#ifndef NN_MAXIMUM_S8_H
#define NN_MAXIMUM_S8_H

#include "broadcast.h"

typedef struct {
    nn_broadcast loops;
} maximum_s8_params;

static inline void maximum_s8(const maximum_s8_params *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    const nn_broadcast *n = &p->loops;
    for (int32_t row = 0; row < nn_broadcast_rows(n); row++) {
        const int8_t *left = a + nn_broadcast_start(n, n->a_step, row);
        const int8_t *right = b + nn_broadcast_start(n, n->b_step, row);
        for (int32_t i = 0; i < n->count[3]; i++, left += n->a_step[3], right += n->b_step[3])
            *y++ = (int8_t)nn_max(*left, *right);
    }
}

#endif
