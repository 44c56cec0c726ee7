/* The mean of a whole image, channel by channel, int8, rounded half away from zero, for cores with the DSP extension: four
 * channels at a time, whose sums are the halves of two words. May run in place. */
#ifndef NN_AVERAGE_POOL2D_S8_WHOLE__DSP_H
#define NN_AVERAGE_POOL2D_S8_WHOLE__DSP_H

#include "pair.h"

typedef struct {
    int32_t pixels;                     /* 256 at most: a sum fits 16 bits */
    int32_t x_c;
    int32_t clamp_min, clamp_max;
} average_pool2d_s8_whole__dsp_params;

/* Adds four values to their channels' sums: 0 and 2 in the first word, 1 and 3 in the second. */
static inline void average_pool2d_s8_whole__dsp_add(uint32_t sums[2], const int8_t *x)
{
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__GNUC__)
    uint32_t four;

    __builtin_memcpy(&four, x, 4);      /* one load, from any address */
    __asm__("sxtab16 %0, %0, %1" : "+r"(sums[0]) : "r"(four));
    __asm__("sxtab16 %0, %0, %1, ror #8" : "+r"(sums[1]) : "r"(four));
#else
    for (int32_t i = 0; i < 2; i++)
        sums[i] = nn_pair(nn_half(sums[i], 0) + x[i], nn_half(sums[i], 1) + x[2 + i]);
#endif
}

static inline int8_t average_pool2d_s8_whole__dsp_mean(const average_pool2d_s8_whole__dsp_params *p, int32_t sum)
{
    const int32_t half = p->pixels / 2;

    return (int8_t)nn_clamp((sum > 0 ? sum + half : sum - half) / p->pixels, p->clamp_min, p->clamp_max);
}

static inline void average_pool2d_s8_whole__dsp(const average_pool2d_s8_whole__dsp_params *p, const int8_t *x, int8_t *y)
{
    const int32_t x_c = p->x_c;
    int32_t c = 0;

    for (; c + 4 <= x_c; c += 4) {
        uint32_t sums[2] = { 0, 0 };
        const int8_t *from = x + c;
        for (int32_t i = p->pixels; i > 0; i--, from += x_c)
            average_pool2d_s8_whole__dsp_add(sums, from);
        for (int32_t i = 0; i < 4; i++)
            y[c + i] = average_pool2d_s8_whole__dsp_mean(p, nn_half(sums[i % 2], i / 2));
    }
    for (; c < x_c; c++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < p->pixels; i++)
            sum += x[i * x_c + c];
        y[c] = average_pool2d_s8_whole__dsp_mean(p, sum);
    }
}

#endif
