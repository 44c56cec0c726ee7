/* 2-D convolution of any window, stride, dilation and padding, int8, NHWC, no groups, for cores with the DSP
 * extension: of images with few channels. The runs of values in their windows are no fours, and each layer has the code for its
 * own: networks have one such layer, the first. */
#ifndef NN_CONV2D_S8_IMAGE__DSP_H
#define NN_CONV2D_S8_IMAGE__DSP_H

#include "im2col.h"

typedef nn_im2col_params conv2d_s8_image__dsp_params;

NN_INLINE void conv2d_s8_image__dsp(const conv2d_s8_image__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    nn_im2col(p, x, y, scratch);
}

#endif
