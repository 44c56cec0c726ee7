/* 2-D depthwise convolution, int8, NHWC, weights 1HWC, per-channel requantisation, any depth multiplier. */
#ifndef NN_DEPTHWISE_CONV2D_S8_H
#define NN_DEPTHWISE_CONV2D_S8_H

#include "requant.h"
#include "window.h"

typedef struct {
    nn_window window;
    int32_t depth_multiplier;           /* output channels per input channel */
    int32_t x_zero, y_zero, clamp_min, clamp_max;
    const int8_t *w;
    const int32_t *bias;                /* NULL: none */
    int32_t per_channel;                /* 1: y_c multipliers and shifts; 0: one of each */
    const int32_t *multiplier;
    const int8_t *shift;
} depthwise_conv2d_s8_params;

static inline void depthwise_conv2d_s8(const depthwise_conv2d_s8_params *p, const int8_t *x, int8_t *y)
{
    const nn_window *g = &p->window;
    const int32_t x_step = g->dilation_w * g->x_c; /* from one column of the window to the next */

    for (int32_t y_row = 0; y_row < g->y_h; y_row++) {
        const int32_t row0 = y_row * g->stride_h - g->pad_top;
        const nn_span rows = nn_inside(row0, g->k_h, g->dilation_h, g->x_h);
        for (int32_t y_col = 0; y_col < g->y_w; y_col++) {
            const int32_t col0 = y_col * g->stride_w - g->pad_left;
            const nn_span cols = nn_inside(col0, g->k_w, g->dilation_w, g->x_w);
            int32_t o = 0;
            for (int32_t c = 0; c < g->x_c; c++) {
                for (int32_t m = 0; m < p->depth_multiplier; m++, o++) {
                    int32_t acc = p->bias ? p->bias[o] : 0;
                    for (int32_t i = rows.first; i < rows.end; i++) {
                        const int32_t row = row0 + i * g->dilation_h, col = col0 + cols.first * g->dilation_w;
                        const int8_t *pixel = x + (row * g->x_w + col) * g->x_c + c;
                        const int8_t *w = p->w + (i * g->k_w + cols.first) * g->y_c + o;
                        for (int32_t j = cols.first; j < cols.end; j++, pixel += x_step, w += g->y_c)
                            acc += (*pixel - p->x_zero) * *w;
                    }
                    const int32_t q = p->per_channel ? o : 0;
                    acc = nn_requantize(acc, p->multiplier[q], p->shift[q]) + p->y_zero;
                    *y++ = (int8_t)nn_clamp(acc, p->clamp_min, p->clamp_max);
                }
            }
        }
    }
}

#endif
