/* Two 16-bit numbers in a word, as the DSP extension multiplies them. */
#ifndef NN_PAIR_H
#define NN_PAIR_H

#include "nn.h"

static inline uint32_t nn_pair(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xffffU) | ((uint32_t)high << 16);
}

/* The lower half for 0, the upper one for 1. */
static inline int32_t nn_half(uint32_t pair, int32_t half)
{
    return (int16_t)(pair >> 16 * half);
}

#endif
