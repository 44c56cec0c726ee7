/* A real value to int8: how a program brings its own floats to the input of a network. */
#ifndef NN_QUANTIZE_F32_H
#define NN_QUANTIZE_F32_H

#include "nn.h"

/* round(real / scale) + zero_point, halves away from zero, clamped. Not-a-number gives the zero point. Far-away values are cut
 * first: a conversion to an integer that can not hold them is undefined. */
static inline int8_t nn_quantize_f32(float real, float scale, int32_t zero_point)
{
    const float steps = real / scale;
    const float near = steps > 512.0f ? 512.0f : steps > -512.0f ? steps : steps <= -512.0f ? -512.0f : 0.0f;
    const int32_t whole = (int32_t)near;
    const float rest = near - (float)whole;             /* exact */
    const int32_t rounded = whole + (rest >= 0.5f) - (rest <= -0.5f);

    return (int8_t)nn_clamp(rounded + zero_point, -128, 127);
}

#endif
