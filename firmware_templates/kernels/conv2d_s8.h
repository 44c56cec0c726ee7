/* 2-D convolution, int8, NHWC, weights OHWI, per-channel requantisation, optional groups (k_c < x_c). */
#ifndef NN_CONV2D_S8_H
#define NN_CONV2D_S8_H

#include "requant.h"

typedef struct {
    int32_t x_h, x_w, x_c;              /* input */
    int32_t k_h, k_w, k_c;              /* kernel; k_c input channels per group */
    int32_t y_h, y_w, y_c;              /* output */
    int32_t stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    int32_t x_zero, y_zero, clamp_min, clamp_max;
    const int8_t *w;
    const int32_t *bias;                /* NULL: none */
    const int32_t *multiplier;          /* y_c of each */
    const int8_t *shift;
} conv2d_s8_params;

static inline void conv2d_s8(const conv2d_s8_params *p, const int8_t *x, int8_t *y)
{
    const int32_t outputs_per_group = p->y_c / (p->x_c / p->k_c);

    for (int32_t y_row = 0; y_row < p->y_h; y_row++) {
        for (int32_t y_col = 0; y_col < p->y_w; y_col++) {
            const int32_t row0 = y_row * p->stride_h - p->pad_top;
            const int32_t col0 = y_col * p->stride_w - p->pad_left;
            const int8_t *w = p->w;
            for (int32_t o = 0; o < p->y_c; o++) {
                const int32_t first_channel = o / outputs_per_group * p->k_c;
                int32_t acc = p->bias ? p->bias[o] : 0;
                for (int32_t i = 0; i < p->k_h; i++) {
                    const int32_t row = row0 + i * p->dilation_h;
                    for (int32_t j = 0; j < p->k_w; j++, w += p->k_c) {
                        const int32_t col = col0 + j * p->dilation_w;
                        if (row < 0 || row >= p->x_h || col < 0 || col >= p->x_w)
                            continue;   /* outside the image: real value 0 */
                        const int8_t *pixel = x + (row * p->x_w + col) * p->x_c + first_channel;
                        for (int32_t c = 0; c < p->k_c; c++)
                            acc += (pixel[c] - p->x_zero) * w[c];
                    }
                }
                acc = nn_requantize(acc, p->multiplier[o], p->shift[o]) + p->y_zero;
                *y++ = (int8_t)nn_clamp(acc, p->clamp_min, p->clamp_max);
            }
        }
    }
}

#endif
