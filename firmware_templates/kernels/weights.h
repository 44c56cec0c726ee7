/* What every layer with weights has: its constants, and the way from a sum of products back to int8. */
#ifndef NN_WEIGHTS_H
#define NN_WEIGHTS_H

#include "requant.h"

typedef struct {
    int32_t x_zero, y_zero, clamp_min, clamp_max;
    const int8_t *w;
    const int32_t *bias;                /* one for each output channel; NULL: none */
    int32_t per_channel;                /* 1: a multiplier and a shift for each output channel; 0: one of each */
    const int32_t *multiplier;
    const int8_t *shift;
} nn_weights;

/* Where the sum of output channel o starts. */
static inline int32_t nn_bias(const nn_weights *n, int32_t o)
{
    return n->bias ? n->bias[o] : 0;
}

/* The sum of output channel o in steps of the output; still to be clamped. */
static inline int32_t nn_rescale(const nn_weights *n, int32_t o, int32_t acc)
{
    const int32_t q = n->per_channel ? o : 0;
    return nn_requantize(acc, n->multiplier[q], n->shift[q]) + n->y_zero;
}

#endif
