/* The larger or the smaller of two values with broadcasting, int8. In place over the first operand where that has all of the
 * output's values. */
#ifndef NN_EXTREMUM_S8_H
#define NN_EXTREMUM_S8_H

#include "broadcast.h"

typedef struct {
    nn_broadcast loops;
    int32_t largest;                    /* 1: the larger, 0: the smaller */
} extremum_s8_params;

static inline void extremum_s8(const extremum_s8_params *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    const nn_broadcast *n = &p->loops;
    for (int32_t row = 0; row < nn_broadcast_rows(n); row++) {
        const int8_t *left = a + nn_broadcast_start(n, n->a_step, row);
        const int8_t *right = b + nn_broadcast_start(n, n->b_step, row);
        for (int32_t i = 0; i < n->count[3]; i++, left += n->a_step[3], right += n->b_step[3])
            *y++ = (*left > *right) == p->largest ? *left : *right;
    }
}

#endif
