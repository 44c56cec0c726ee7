/* y[row] = x[row] * w^T + bias, int8, weights OI, requantisation per layer or per output. */
#ifndef NN_FULLY_CONNECTED_S8_H
#define NN_FULLY_CONNECTED_S8_H

#include "dot.h"
#include "requant.h"

typedef struct {
    int32_t rows, x_c, y_c;
    int32_t x_zero, y_zero, clamp_min, clamp_max;
    const int8_t *w;
    const int32_t *bias;                /* NULL: none */
    int32_t per_channel;                /* 1: y_c multipliers and shifts; 0: one of each */
    const int32_t *multiplier;
    const int8_t *shift;
} fully_connected_s8_params;

static inline void fully_connected_s8(const fully_connected_s8_params *p, const int8_t *x, int8_t *y)
{
    for (int32_t row = 0; row < p->rows; row++, x += p->x_c) {
        const int8_t *w = p->w;
        for (int32_t o = 0; o < p->y_c; o++, w += p->x_c) {
            int32_t acc = nn_dot(p->bias ? p->bias[o] : 0, x, p->x_zero, w, p->x_c);
            const int32_t q = p->per_channel ? o : 0;
            acc = nn_requantize(acc, p->multiplier[q], p->shift[q]) + p->y_zero;
            *y++ = (int8_t)nn_clamp(acc, p->clamp_min, p->clamp_max);
        }
    }
}

#endif
