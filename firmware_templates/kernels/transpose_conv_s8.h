/* Transposed 2-D convolution, int8, NHWC, weights OHWI, per-channel requantisation. Each output value gathers the input
 * values that would add to it, so that no 32-bit image is needed. */
#ifndef NN_TRANSPOSE_CONV_S8_H
#define NN_TRANSPOSE_CONV_S8_H

#include "dot.h"
#include "weights.h"
#include "window.h"

typedef struct {
    nn_window window;                   /* pad_top and pad_left: what is cropped from the output */
    nn_weights weights;
} transpose_conv_s8_params;

static inline void transpose_conv_s8(const transpose_conv_s8_params *p, const int8_t *x, int8_t *NN_RESTRICT y)
{
    const nn_window *g = &p->window;
    const nn_weights *n = &p->weights;

    for (int32_t y_row = 0; y_row < g->y_h; y_row++) {
        const int32_t row0 = y_row + g->pad_top;
        for (int32_t y_col = 0; y_col < g->y_w; y_col++) {
            const int32_t col0 = y_col + g->pad_left;
            for (int32_t o = 0; o < g->y_c; o++) {
                int32_t acc = nn_bias(n, o);
                /* Kernel rows i that meet an input row: row0 - i is a multiple of the stride. Likewise the columns. */
                for (int32_t i = row0 % g->stride_h; i < g->k_h && i <= row0; i += g->stride_h) {
                    const int32_t row = (row0 - i) / g->stride_h;
                    if (row >= g->x_h)
                        continue;
                    for (int32_t j = col0 % g->stride_w; j < g->k_w && j <= col0; j += g->stride_w) {
                        const int32_t col = (col0 - j) / g->stride_w;
                        if (col >= g->x_w)
                            continue;
                        const int8_t *pixel = x + (row * g->x_w + col) * g->x_c;
                        const int8_t *w = n->w + ((o * g->k_h + i) * g->k_w + j) * g->x_c;
                        acc = nn_dot(acc, pixel, n->x_zero, w, g->x_c);
                    }
                }
                *y++ = (int8_t)nn_clamp(nn_rescale(n, o, acc), n->clamp_min, n->clamp_max);
            }
        }
    }
}

#endif
