/* How operators with two operands walk over them: rows of values that lie in a dense output one after the other. */
#ifndef NN_BROADCAST_H
#define NN_BROADCAST_H

#include "nn.h"

typedef struct {
    int32_t count[4];                   /* of up to four axes, outermost first; the last is the row */
    int32_t a_step[4], b_step[4];       /* 0 repeats an operand along an axis; along a row it is 0 or 1 */
} nn_broadcast;

static inline int32_t nn_broadcast_rows(const nn_broadcast *n)
{
    return n->count[0] * n->count[1] * n->count[2];
}

/* Where row number `row` of an operand with these steps starts. */
static inline int32_t nn_broadcast_start(const nn_broadcast *n, const int32_t *step, int32_t row)
{
    const int32_t k = row % n->count[2], ij = row / n->count[2];
    return ij / n->count[1] * step[0] + ij % n->count[1] * step[1] + k * step[2];
}

#endif
