/* int8 to real numbers: y = scale * (x - x_zero). */
#ifndef NN_DEQUANTIZE_S8_H
#define NN_DEQUANTIZE_S8_H

#include "nn.h"

typedef struct {
    int32_t count, x_zero;
    float scale;
} dequantize_s8_params;

static inline void dequantize_s8(const dequantize_s8_params *p, const int8_t *x, float *NN_RESTRICT y)
{
    for (int32_t i = 0; i < p->count; i++)
        y[i] = (float)(x[i] - p->x_zero) * p->scale;
}

#endif
