/* Values of 8 bits as pairs of 16, for cores with the DSP extension: of four neighbours (k0, k1, k2, k3) two words, k0 k2 and
 * k1 k3, the former in the lower half. */
#ifndef NN_WIDENED_H
#define NN_WIDENED_H

#include "pair.h"

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__thumb2__) && defined(__GNUC__)

static inline void nn_widened_put(uint32_t *wide, const int8_t *x)
{
    uint32_t four, even, odd;

    __builtin_memcpy(&four, x, 4);
    __asm__("sxtb16 %0, %1" : "=r"(even) : "r"(four));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(four));
    wide[0] = even;
    wide[1] = odd;
}

#else

static inline void nn_widened_put(uint32_t *wide, const int8_t *x)
{
    wide[0] = nn_pair(x[0], x[2]);
    wide[1] = nn_pair(x[1], x[3]);
}

#endif

/* A row of values and the zeros that it lacks to a multiple of eight; gives the end of the words. */
static inline const uint32_t *nn_widened_row(uint32_t *wide, const int8_t *x, int32_t count)
{
    const uint32_t *const end = wide + (count + 7) / 8 * 4;

    for (; count >= 4; count -= 4, x += 4, wide += 2)
        nn_widened_put(wide, x);
    for (; wide < end; wide += 2, count = 0) {
        int8_t rest[4] = { 0, 0, 0, 0 };
        for (int32_t i = 0; i < count; i++)
            rest[i] = x[i];
        nn_widened_put(wide, rest);
    }
    return end;
}

#endif
