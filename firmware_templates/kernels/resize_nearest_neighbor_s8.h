/* Another size for an image; which input row and column each output row and column takes is in two tables. */
#ifndef NN_RESIZE_NEAREST_NEIGHBOR_S8_H
#define NN_RESIZE_NEAREST_NEIGHBOR_S8_H

#include "nn.h"

typedef struct {
    int32_t x_w, y_h, y_w, channels;
    const uint16_t *row;                /* y_h */
    const uint16_t *col;                /* y_w */
} resize_nearest_neighbor_s8_params;

static inline void resize_nearest_neighbor_s8(const resize_nearest_neighbor_s8_params *p, const int8_t *x, int8_t *NN_RESTRICT y)
{
    for (int32_t i = 0; i < p->y_h; i++)
        for (int32_t j = 0; j < p->y_w; j++) {
            const int8_t *pixel = x + (p->row[i] * p->x_w + p->col[j]) * p->channels;
            for (int32_t c = 0; c < p->channels; c++)
                *y++ = pixel[c];
        }
}

#endif
