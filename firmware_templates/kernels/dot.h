/* The innermost loop of everything with weights. */
#ifndef NN_DOT_H
#define NN_DOT_H

#include "nn.h"

/* acc + the sum of (x[i] - x_zero) * w[i]. Four at a time, so that the loop itself costs little. */
static inline int32_t nn_dot(int32_t acc, const int8_t *x, int32_t x_zero, const int8_t *w, int32_t count)
{
    for (; count >= 4; count -= 4, x += 4, w += 4) {
        acc += (x[0] - x_zero) * w[0];
        acc += (x[1] - x_zero) * w[1];
        acc += (x[2] - x_zero) * w[2];
        acc += (x[3] - x_zero) * w[3];
    }
    for (; count > 0; count--)
        acc += (*x++ - x_zero) * *w++;
    return acc;
}

#endif
