/* Values around a tensor of up to four axes. */
#ifndef NN_PAD_S8_H
#define NN_PAD_S8_H

#include "nn.h"

typedef struct {
    int32_t shape[4];                   /* of the input */
    int32_t before[4], after[4];        /* how many values to add along each axis */
    int32_t fill;
} pad_s8_params;

static inline int8_t *pad_s8_fill(int8_t *y, int32_t count, int32_t value)
{
    for (int32_t i = 0; i < count; i++)
        *y++ = (int8_t)value;
    return y;
}

static inline void pad_s8(const pad_s8_params *p, const int8_t *x, int8_t *NN_RESTRICT y)
{
    /* How many output values one step along an axis takes. */
    const int32_t step2 = p->before[3] + p->shape[3] + p->after[3];
    const int32_t step1 = step2 * (p->before[2] + p->shape[2] + p->after[2]);
    const int32_t step0 = step1 * (p->before[1] + p->shape[1] + p->after[1]);

    y = pad_s8_fill(y, p->before[0] * step0, p->fill);
    for (int32_t i = 0; i < p->shape[0]; i++) {
        y = pad_s8_fill(y, p->before[1] * step1, p->fill);
        for (int32_t j = 0; j < p->shape[1]; j++) {
            y = pad_s8_fill(y, p->before[2] * step2, p->fill);
            for (int32_t k = 0; k < p->shape[2]; k++) {
                y = pad_s8_fill(y, p->before[3], p->fill);
                for (int32_t l = 0; l < p->shape[3]; l++)
                    *y++ = *x++;
                y = pad_s8_fill(y, p->after[3], p->fill);
            }
            y = pad_s8_fill(y, p->after[2] * step2, p->fill);
        }
        y = pad_s8_fill(y, p->after[1] * step1, p->fill);
    }
    pad_s8_fill(y, p->after[0] * step0, p->fill);
}

#endif
