/* Real numbers to int8: y = x / scale + y_zero, rounded half away from zero and saturated; not-a-number becomes y_zero. */
#ifndef NN_QUANTIZE_F32_S8_H
#define NN_QUANTIZE_F32_S8_H

#include "nn.h"

typedef struct {
    int32_t count, y_zero;
    float scale;
} quantize_f32_s8_params;

static inline int8_t quantize_f32_s8_one(float steps, int32_t y_zero)
{
    if (steps != steps)
        return (int8_t)y_zero;
    if (steps > 1000.0f || steps < -1000.0f) /* beyond every int8, before the conversion can overflow */
        return steps > 0.0f ? INT8_MAX : INT8_MIN;
    int32_t whole = (int32_t)steps;
    const float rest = steps - (float)whole;
    whole += (rest >= 0.5f) - (rest <= -0.5f);
    return (int8_t)nn_clamp(whole + y_zero, INT8_MIN, INT8_MAX);
}

static inline void quantize_f32_s8(const quantize_f32_s8_params *p, const float *x, int8_t *NN_RESTRICT y)
{
    for (int32_t i = 0; i < p->count; i++)
        y[i] = quantize_f32_s8_one(x[i] / p->scale, p->y_zero);
}

#endif
