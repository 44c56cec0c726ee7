/* Addition and subtraction of operands of one shape, int8: two products and a shift give what add_s8.h does in three roundings.
 * The constants are proven over all pairs of values (pipeline/requantization.py). In place over the first operand. */
#ifndef NN_ADD_S8_DENSE_H
#define NN_ADD_S8_DENSE_H

#include "nn.h"

typedef struct {
    int32_t count;
    int32_t a_factor, b_factor, addend, shift;
    int32_t clamp_min, clamp_max;
} add_s8_dense_params;

static inline int8_t add_s8_dense_one(const add_s8_dense_params *p, int32_t a, int32_t b)
{
    return (int8_t)nn_saturated((p->addend + a * p->a_factor + b * p->b_factor) >> p->shift);
}

static inline void add_s8_dense(const add_s8_dense_params *p, const int8_t *a, const int8_t *b, int8_t *y)
{
    const add_s8_dense_params n = *p; /* a copy, which y does not overlap: it stays in registers */
    int32_t i = 0;

    for (; i + 4 <= n.count; i += 4) {
        y[i] = add_s8_dense_one(&n, a[i], b[i]);
        y[i + 1] = add_s8_dense_one(&n, a[i + 1], b[i + 1]);
        y[i + 2] = add_s8_dense_one(&n, a[i + 2], b[i + 2]);
        y[i + 3] = add_s8_dense_one(&n, a[i + 3], b[i + 3]);
    }
    for (; i < n.count; i++)
        y[i] = add_s8_dense_one(&n, a[i], b[i]);
    nn_clamp_values(y, n.count, n.clamp_min, n.clamp_max);
}

#endif
