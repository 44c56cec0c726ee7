/* 1x1 convolution, int8, NHWC, stride one, no padding, no groups, for cores with the DSP extension: two pixels are widened once
 * for all output channels. y may lie over x: where a pixel has more channels there, the last come first. */
#ifndef NN_CONV2D_S8_1X1__DSP_H
#define NN_CONV2D_S8_1X1__DSP_H

#include "pixel_pair.h"

typedef struct {
    int32_t pixels, x_c;
    nn_pixel_pair pair;
} conv2d_s8_1x1__dsp_params;

static inline void conv2d_s8_1x1__dsp(const conv2d_s8_1x1__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    const conv2d_s8_1x1__dsp_params n = *p; /* a copy, which nothing that is written overlaps: it stays in registers */
    int16_t *const columns = (int16_t *)scratch;
    const int32_t x_c = n.x_c, y_c = n.pair.y_c, last = (n.pixels - 1) / 2 * 2;

    for (int32_t i = 0; i < n.pixels; i += 2) {
        const int32_t pixel = y_c > x_c ? last - i : i;
        const int32_t next = pixel + 1 < n.pixels; /* an odd number of pixels ends with the last one twice */
        nn_pixel_pair_widen(columns, x + pixel * x_c, x + (pixel + next) * x_c, x_c);
        nn_pixel_pair_outputs(&n.pair, columns, y + pixel * y_c, y + (pixel + next) * y_c);
    }
    nn_pixel_pair_clamp(&n.pair, y, n.pixels);
}

#endif
