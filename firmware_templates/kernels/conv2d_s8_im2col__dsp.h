/* 2-D convolution of any window, stride, dilation and padding, int8, NHWC, no groups, for cores with the DSP
 * extension. */
#ifndef NN_CONV2D_S8_IM2COL__DSP_H
#define NN_CONV2D_S8_IM2COL__DSP_H

#include "im2col.h"

typedef nn_im2col_params conv2d_s8_im2col__dsp_params;

static inline void conv2d_s8_im2col__dsp(const conv2d_s8_im2col__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    nn_im2col(p, x, y, scratch);
}

#endif
