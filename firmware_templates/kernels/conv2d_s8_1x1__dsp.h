/* 1x1 convolution, int8, NHWC, stride one, no padding, no groups, for cores with the DSP extension: two pixels are widened once
 * for all output channels. */
#ifndef NN_CONV2D_S8_1X1__DSP_H
#define NN_CONV2D_S8_1X1__DSP_H

#include "pixel_pair.h"

typedef struct {
    int32_t pixels, x_c;
    nn_pixel_pair pair;
} conv2d_s8_1x1__dsp_params;

static inline void conv2d_s8_1x1__dsp(const conv2d_s8_1x1__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t x_c = p->x_c, y_c = p->pair.y_c;
    int16_t *const columns = (int16_t *)scratch;

    for (int32_t pixel = 0; pixel < p->pixels; pixel += 2) {
        const int32_t next = pixel + 1 < p->pixels; /* an odd number of pixels ends with the last one twice */
        nn_pixel_pair_widen(columns, x + pixel * x_c, x + (pixel + next) * x_c, x_c);
        nn_pixel_pair_outputs(&p->pair, columns, y + pixel * y_c, y + (pixel + next) * y_c);
    }
    nn_pixel_pair_clamp(&p->pair, y, p->pixels);
}

#endif
