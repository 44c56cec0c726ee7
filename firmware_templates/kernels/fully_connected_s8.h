/* y[row] = x[row] * w^T + bias, int8, weights OI, requantisation per layer or per output. */
#ifndef NN_FULLY_CONNECTED_S8_H
#define NN_FULLY_CONNECTED_S8_H

#include "dot.h"
#include "weights.h"

typedef struct {
    int32_t rows, x_c, y_c;
    nn_weights weights;
} fully_connected_s8_params;

static inline void fully_connected_s8(const fully_connected_s8_params *p, const int8_t *x, int8_t *NN_RESTRICT y)
{
    const nn_weights *n = &p->weights;

    for (int32_t row = 0; row < p->rows; row++, x += p->x_c)
        for (int32_t o = 0; o < p->y_c;) {
            /* Four at a time while so many are left, then one by one. */
            const int32_t channels = o + 4 <= p->y_c ? 4 : 1;
            const int8_t *w = n->w + o * p->x_c;
            int32_t sums[4] = { 0, 0, 0, 0 };
            if (channels == 4)
                nn_dot_rows(sums, x, n->x_zero, w, p->x_c, p->x_c);
            else
                sums[0] = nn_dot(0, x, n->x_zero, w, p->x_c);
            for (int32_t i = 0; i < channels; i++, o++) {
                const int32_t acc = nn_rescale(n, o, nn_bias(n, o) + sums[i]);
                *y++ = (int8_t)nn_clamp(acc, n->clamp_min, n->clamp_max);
            }
        }
}

#endif
