/* 2-D depthwise convolution, int8, NHWC, weights 1HWC, per-channel requantisation, any depth multiplier. */
#ifndef NN_DEPTHWISE_CONV2D_S8_H
#define NN_DEPTHWISE_CONV2D_S8_H

#include "dot.h"
#include "weights.h"
#include "window.h"

typedef struct {
    nn_window window;
    int32_t depth_multiplier;           /* output channels per input channel */
    nn_weights weights;
} depthwise_conv2d_s8_params;

/* Adds up what `channels` output channels, four neighbours or one, get from a patch. x and w are at their first. */
static inline void depthwise_conv2d_s8_add(
    int32_t acc[4], int32_t channels, const depthwise_conv2d_s8_params *p, nn_patch patch, const int8_t *x, const int8_t *w)
{
    const nn_window *g = &p->window;
    const int32_t x_zero = p->weights.x_zero;
    const int32_t x_col = g->dilation_w * g->x_c, x_row = g->dilation_h * g->x_w * g->x_c;
    const int32_t w_col = g->y_c, w_row = g->k_w * g->y_c;
    int32_t sums[4] = { acc[0], acc[1], acc[2], acc[3] };

    for (int32_t i = 0; i < patch.rows; i++) {
        const int8_t *value = x + patch.x_first + i * x_row, *weight = w + patch.k_first * w_col + i * w_row;
        const int8_t *end = weight + patch.cols * w_col;
        if (channels == 4)
            for (; weight < end; value += x_col, weight += w_col)
                nn_multiply_four(sums, nn_four_centred(value, x_zero), weight);
        else
            for (; weight < end; value += x_col, weight += w_col)
                sums[0] += (*value - x_zero) * *weight;
    }
    acc[0] = sums[0];
    acc[1] = sums[1];
    acc[2] = sums[2];
    acc[3] = sums[3];
}

static inline void depthwise_conv2d_s8(const depthwise_conv2d_s8_params *p, const int8_t *x, int8_t *NN_RESTRICT y)
{
    const nn_window *g = &p->window;
    const nn_weights *n = &p->weights;

    for (int32_t y_row = 0; y_row < g->y_h; y_row++)
        for (int32_t y_col = 0; y_col < g->y_w; y_col++) {
            const nn_patch patch = nn_patch_at(g, y_row, y_col);
            for (int32_t o = 0; o < g->y_c;) {
                /* Four at a time where their inputs are four neighbours too. */
                const int32_t channels = p->depth_multiplier == 1 && o + 4 <= g->y_c ? 4 : 1;
                int32_t sums[4] = { 0, 0, 0, 0 };
                depthwise_conv2d_s8_add(sums, channels, p, patch, x + o / p->depth_multiplier, n->w + o);
                for (int32_t i = 0; i < channels; i++, o++) {
                    const int32_t acc = nn_rescale(n, o, nn_bias(n, o) + sums[i]);
                    *y++ = (int8_t)nn_clamp(acc, n->clamp_min, n->clamp_max);
                }
            }
        }
}

#endif
