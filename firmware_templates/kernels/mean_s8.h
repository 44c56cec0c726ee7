/* Mean over up to two axes, int8, rescaled; the multiplier has the division by the count in it. */
#ifndef NN_MEAN_S8_H
#define NN_MEAN_S8_H

#include "requant.h"

typedef struct {
    int32_t kept[3], kept_step[3];       /* the output's axes, and how far apart their values lie in the input */
    int32_t reduced[2], reduced_step[2]; /* the axes that are summed over */
    int32_t x_zero_sum, y_zero;          /* x_zero_sum: the input's zero point times the count */
    int32_t multiplier, shift;
} mean_s8_params;

static inline int32_t mean_s8_sum(const mean_s8_params *p, const int8_t *x)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < p->reduced[0]; i++)
        for (int32_t j = 0; j < p->reduced[1]; j++)
            sum += x[i * p->reduced_step[0] + j * p->reduced_step[1]];
    return sum;
}

static inline void mean_s8(const mean_s8_params *p, const int8_t *x, int8_t *NN_RESTRICT y)
{
    for (int32_t i = 0; i < p->kept[0]; i++)
        for (int32_t j = 0; j < p->kept[1]; j++)
            for (int32_t k = 0; k < p->kept[2]; k++) {
                const int8_t *first = x + i * p->kept_step[0] + j * p->kept_step[1] + k * p->kept_step[2];
                const int32_t sum = mean_s8_sum(p, first) - p->x_zero_sum;
                const int32_t mean = nn_requantize(sum, p->multiplier, p->shift) + p->y_zero;
                *y++ = (int8_t)nn_clamp(mean, INT8_MIN, INT8_MAX);
            }
}

#endif
