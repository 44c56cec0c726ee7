/* 2-D maximum pooling, int8: the largest value inside the image. May run in place. */
#ifndef NN_MAX_POOL2D_S8_H
#define NN_MAX_POOL2D_S8_H

#include "window.h"

typedef struct {
    nn_window window;
    int32_t clamp_min, clamp_max;
} max_pool2d_s8_params;

static inline void max_pool2d_s8(const max_pool2d_s8_params *p, const int8_t *x, int8_t *y)
{
    const nn_window *g = &p->window;

    for (int32_t y_row = 0; y_row < g->y_h; y_row++) {
        const int32_t row0 = y_row * g->stride_h - g->pad_top;
        const nn_span rows = nn_inside(row0, g->k_h, 1, g->x_h);
        for (int32_t y_col = 0; y_col < g->y_w; y_col++) {
            const int32_t col0 = y_col * g->stride_w - g->pad_left;
            const nn_span cols = nn_inside(col0, g->k_w, 1, g->x_w);
            const int8_t *corner = x + ((row0 + rows.first) * g->x_w + col0 + cols.first) * g->x_c;
            for (int32_t c = 0; c < g->x_c; c++) {
                int32_t largest = INT8_MIN;
                for (int32_t i = 0; i < rows.end - rows.first; i++) {
                    const int8_t *value = corner + i * g->x_w * g->x_c + c;
                    for (int32_t j = cols.first; j < cols.end; j++, value += g->x_c)
                        largest = nn_max(largest, *value);
                }
                *y++ = (int8_t)nn_clamp(largest, p->clamp_min, p->clamp_max);
            }
        }
    }
}

#endif
