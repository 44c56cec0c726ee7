/* 2-D average pooling, int8: the mean of the values inside the image, rounded half away from zero. May run in place. */
#ifndef NN_AVERAGE_POOL2D_S8_H
#define NN_AVERAGE_POOL2D_S8_H

#include "window.h"

typedef struct {
    nn_window window;
    int32_t clamp_min, clamp_max;
} average_pool2d_s8_params;

static inline void average_pool2d_s8(const average_pool2d_s8_params *p, const int8_t *x, int8_t *y)
{
    const nn_window *g = &p->window;

    for (int32_t y_row = 0; y_row < g->y_h; y_row++)
        for (int32_t y_col = 0; y_col < g->y_w; y_col++) {
            const nn_patch patch = nn_patch_at(g, y_row, y_col);
            const int32_t count = patch.rows * patch.cols;
            for (int32_t c = 0; c < g->x_c; c++) {
                int32_t sum = 0;
                for (int32_t i = 0; i < patch.rows; i++) {
                    const int8_t *value = x + patch.x_first + i * g->x_w * g->x_c + c;
                    for (int32_t j = 0; j < patch.cols; j++, value += g->x_c)
                        sum += *value;
                }
                sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
                *y++ = (int8_t)nn_clamp(sum, p->clamp_min, p->clamp_max);
            }
        }
}

#endif
