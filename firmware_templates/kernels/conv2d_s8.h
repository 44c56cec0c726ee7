/* 2-D convolution, int8, NHWC, weights OHWI, per-channel requantisation, optional groups (k_c < x_c). */
#ifndef NN_CONV2D_S8_H
#define NN_CONV2D_S8_H

#include "dot.h"
#include "requant.h"
#include "window.h"

typedef struct {
    nn_window window;
    int32_t k_c;                        /* input channels per group */
    int32_t x_zero, y_zero, clamp_min, clamp_max;
    const int8_t *w;
    const int32_t *bias;                /* NULL: none */
    int32_t per_channel;                /* 1: y_c multipliers and shifts; 0: one of each */
    const int32_t *multiplier;
    const int8_t *shift;
} conv2d_s8_params;

static inline void conv2d_s8(const conv2d_s8_params *p, const int8_t *x, int8_t *y)
{
    const nn_window *g = &p->window;
    const int32_t y_c_per_group = g->y_c / (g->x_c / p->k_c);
    /* Columns that touch in memory are one run; dilation or groups leave gaps between them. */
    const int32_t dense = g->dilation_w == 1 && p->k_c == g->x_c;

    for (int32_t y_row = 0; y_row < g->y_h; y_row++) {
        const int32_t row0 = y_row * g->stride_h - g->pad_top;
        const nn_span rows = nn_inside(row0, g->k_h, g->dilation_h, g->x_h);
        for (int32_t y_col = 0; y_col < g->y_w; y_col++) {
            const int32_t col0 = y_col * g->stride_w - g->pad_left;
            const nn_span cols = nn_inside(col0, g->k_w, g->dilation_w, g->x_w);
            const int32_t runs = dense ? 1 : cols.end - cols.first;
            const int32_t run = dense ? (cols.end - cols.first) * p->k_c : p->k_c;
            for (int32_t o = 0; o < g->y_c; o++) {
                const int32_t first_c = o / y_c_per_group * p->k_c;
                int32_t acc = p->bias ? p->bias[o] : 0;
                for (int32_t i = rows.first; i < rows.end; i++) {
                    const int32_t row = row0 + i * g->dilation_h, col = col0 + cols.first * g->dilation_w;
                    const int8_t *pixel = x + (row * g->x_w + col) * g->x_c + first_c;
                    const int8_t *w = p->w + ((o * g->k_h + i) * g->k_w + cols.first) * p->k_c;
                    for (int32_t j = 0; j < runs; j++) {
                        acc = nn_dot(acc, pixel, p->x_zero, w, run);
                        pixel += g->dilation_w * g->x_c;
                        w += run;
                    }
                }
                const int32_t q = p->per_channel ? o : 0;
                acc = nn_requantize(acc, p->multiplier[q], p->shift[q]) + p->y_zero;
                *y++ = (int8_t)nn_clamp(acc, p->clamp_min, p->clamp_max);
            }
        }
    }
}

#endif
