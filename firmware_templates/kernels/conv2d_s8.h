/* 2-D convolution, int8, NHWC, weights OHWI, per-channel requantisation, optional groups (k_c < x_c). */
#ifndef NN_CONV2D_S8_H
#define NN_CONV2D_S8_H

#include "dot.h"
#include "weights.h"
#include "window.h"

typedef struct {
    nn_window window;
    int32_t k_c;                        /* input channels per group */
    nn_weights weights;
} conv2d_s8_params;

/* Adds up what `channels` output channels of one group, four or one, get from a patch. x and w are at their first. */
static inline void conv2d_s8_add(
    int32_t acc[4], int32_t channels, const conv2d_s8_params *p, nn_patch patch, const int8_t *x, const int8_t *w)
{
    const nn_window *g = &p->window;
    const int32_t x_col = g->dilation_w * g->x_c, x_row = g->dilation_h * g->x_w * g->x_c;
    const int32_t w_row = g->k_w * p->k_c, w_next = g->k_h * w_row;
    /* Columns that touch in memory are one run; dilation or groups leave gaps between them. */
    const int32_t dense = x_col == p->k_c;
    const int32_t runs = dense ? 1 : patch.cols;
    const int32_t run = dense ? patch.cols * p->k_c : p->k_c;

    for (int32_t i = 0; i < patch.rows; i++)
        for (int32_t j = 0; j < runs; j++) {
            const int8_t *value = x + patch.x_first + i * x_row + j * x_col;
            const int8_t *weight = w + patch.k_first * p->k_c + i * w_row + j * p->k_c;
            if (channels == 4)
                nn_dot_rows(acc, value, p->weights.x_zero, weight, w_next, run);
            else
                acc[0] = nn_dot(acc[0], value, p->weights.x_zero, weight, run);
        }
}

static inline void conv2d_s8(const conv2d_s8_params *p, const int8_t *x, int8_t *NN_RESTRICT y)
{
    const nn_window *g = &p->window;
    const nn_weights *n = &p->weights;
    const int32_t group_y_c = g->y_c / (g->x_c / p->k_c);
    const int32_t w_next = g->k_h * g->k_w * p->k_c;

    for (int32_t y_row = 0; y_row < g->y_h; y_row++)
        for (int32_t y_col = 0; y_col < g->y_w; y_col++) {
            const nn_patch patch = nn_patch_at(g, y_row, y_col);
            for (int32_t o = 0; o < g->y_c;) {
                const int32_t group = o / group_y_c;
                /* Four at a time while the group has so many left, then one by one. */
                const int32_t channels = o + 4 <= (group + 1) * group_y_c ? 4 : 1;
                int32_t sums[4] = { 0, 0, 0, 0 };
                conv2d_s8_add(sums, channels, p, patch, x + group * p->k_c, n->w + o * w_next);
                for (int32_t i = 0; i < channels; i++, o++) {
                    const int32_t acc = nn_rescale(n, o, nn_bias(n, o) + sums[i]);
                    *y++ = (int8_t)nn_clamp(acc, n->clamp_min, n->clamp_max);
                }
            }
        }
}

#endif
