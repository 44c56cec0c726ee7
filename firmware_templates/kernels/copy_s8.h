/* Moves values: a strided copy of up to four axes. Steps may be 0 or negative. x and y must not overlap. */
#ifndef NN_COPY_S8_H
#define NN_COPY_S8_H

#include "nn.h"

typedef struct {
    int32_t count[4];                   /* outermost first */
    int32_t x_step[4], y_step[4];
    int32_t x_start, y_start;
} copy_s8_params;

static inline void copy_s8(const copy_s8_params *p, const int8_t *x, int8_t *NN_RESTRICT y)
{
    x += p->x_start;
    y += p->y_start;
    for (int32_t i = 0; i < p->count[0]; i++)
        for (int32_t j = 0; j < p->count[1]; j++)
            for (int32_t k = 0; k < p->count[2]; k++) {
                const int32_t x_row = i * p->x_step[0] + j * p->x_step[1] + k * p->x_step[2];
                const int32_t y_row = i * p->y_step[0] + j * p->y_step[1] + k * p->y_step[2];
                if (p->x_step[3] == 1 && p->y_step[3] == 1)
                    for (int32_t l = 0; l < p->count[3]; l++)
                        y[y_row + l] = x[x_row + l];
                else
                    for (int32_t l = 0; l < p->count[3]; l++)
                        y[y_row + l * p->y_step[3]] = x[x_row + l * p->x_step[3]];
            }
}

#endif
