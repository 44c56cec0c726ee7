/* One byte for another: y[i] = table[x[i]]. x holds int8 or uint8 values; the byte is the index. May run in place. */
#ifndef NN_LOOKUP_S8_H
#define NN_LOOKUP_S8_H

#include "nn.h"

typedef struct {
    int32_t count;
    const int8_t *table;                /* 256 entries */
} lookup_s8_params;

static inline void lookup_s8(const lookup_s8_params *p, const void *x, int8_t *y)
{
    const uint8_t *byte = (const uint8_t *)x;
    for (int32_t i = 0; i < p->count; i++)
        y[i] = p->table[byte[i]];
}

#endif
