/* y[row] = x[row] * w^T + bias, int8, for cores with the DSP extension: four outputs at a time, each weight read once, a row of x
 * widened once for all outputs.
 *
 * Two weights of neighbouring outputs make 16 bits, 256 * w1 + w0. Multiplied as they are and added up over the inputs, they give
 * 256 * sum1 + sum0; the lower byte alone, which is w0, gives sum0; the difference is 256 * sum1. Three instructions for four
 * products, and exact, modulo 2^32, while sum1 fits 24 bits. The words lie in the order of use: of each eight inputs four for the
 * outputs 0 and 1, then four for 2 and 3; each has the weights of two inputs: 0 and 2, 1 and 3, 4 and 6, 5 and 7. Inputs and
 * outputs that are missing to eight and to four have weights 0. The bias has taken in the zero point of x. */
#ifndef NN_FULLY_CONNECTED_S8__DSP_H
#define NN_FULLY_CONNECTED_S8__DSP_H

#include "pair.h"
#include "requant__dsp.h"

typedef struct {
    int32_t rows, x_c, y_c;
    int32_t y_zero, clamp_min, clamp_max;
    const int32_t *w, *bias;
    int32_t per_channel;                /* 1: a multiplier and a shift for each output; 0: one of each */
    const int32_t *multiplier;
    const int8_t *shift;
} fully_connected_s8__dsp_params;

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__thumb2__) && defined(__GNUC__)

/* Four values in two words: 0 and 2, 1 and 3. */
static inline void fully_connected_s8__dsp_put(uint32_t *wide, const int8_t *x)
{
    uint32_t four, even, odd;

    __builtin_memcpy(&four, x, 4);
    __asm__("sxtb16 %0, %1" : "=r"(even) : "r"(four));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(four));
    wide[0] = even;
    wide[1] = odd;
}

/* Two inputs' weights W meet their values X: LOW has the sum of w0, BOTH that of 256 * w1 + w0. */
#define NN_TWO(W, X, LOW, BOTH) \
    "smlad " BOTH ", " W ", " X ", " BOTH "\n\t" \
    "sxtb16 " W ", " W "\n\t" \
    "smlad " LOW ", " W ", " X ", " LOW "\n\t"
#define NN_EIGHT(LOW, BOTH) \
    "ldm r12!, {r4-r7}\n\t" NN_TWO("r4", "r8", LOW, BOTH) NN_TWO("r5", "r9", LOW, BOTH) NN_TWO("r6", "r10", LOW, BOTH) \
        NN_TWO("r7", "r11", LOW, BOTH)

/* The sums of four outputs over the words from x to `end`.
 * r0 to r3: sums, r12: w, lr: x, r4 to r7: words of w, r8 to r11: words of x. [sp]: where the sums go, [sp + 4]: end. */
NN_NAKED static void fully_connected_s8__dsp_sums(
    __attribute__((unused)) int32_t sums[4], __attribute__((unused)) const int32_t *w,
    __attribute__((unused)) const uint32_t *x, __attribute__((unused)) const uint32_t *end)
{
    __asm__ volatile(
        "push {r0, r3-r11, lr}\n\t"
        "mov r12, r1\n\t"
        "mov lr, r2\n\t"
        "mov r0, #0\n\t"
        "mov r1, #0\n\t"
        "mov r2, #0\n\t"
        "mov r3, #0\n"
        "1:\n\t"
        "ldm lr!, {r8-r11}\n\t" NN_EIGHT("r0", "r1") NN_EIGHT("r2", "r3")
        "ldr r4, [sp, #4]\n\t"
        "cmp lr, r4\n\t"
        "bne 1b\n\t"
        "sub r1, r1, r0\n\t"
        "sub r3, r3, r2\n\t"
        "asr r1, r1, #8\n\t"
        "asr r3, r3, #8\n\t"
        "pop {r4}\n\t"
        "stm r4, {r0-r3}\n\t"
        "pop {r3-r11, pc}");
}

#undef NN_TWO
#undef NN_EIGHT

#else

/* Four values in two words: 0 and 2, 1 and 3. */
static inline void fully_connected_s8__dsp_put(uint32_t *wide, const int8_t *x)
{
    wide[0] = nn_pair(x[0], x[2]);
    wide[1] = nn_pair(x[1], x[3]);
}

/* Adds what two inputs, the halves of x, give to two outputs, whose weights are in w. */
static inline void fully_connected_s8__dsp_two(uint32_t *low, uint32_t *both, uint32_t w, uint32_t x)
{
    for (int32_t half = 0; half < 2; half++) {
        const int32_t weights = nn_half(w, half), value = nn_half(x, half);
        *both += (uint32_t)(weights * value);
        *low += (uint32_t)((int8_t)weights * value);
    }
}

/* The sums of four outputs over the words from x to `end`. */
static inline void fully_connected_s8__dsp_sums(int32_t sums[4], const int32_t *w, const uint32_t *x, const uint32_t *end)
{
    uint32_t low[2] = { 0, 0 }, both[2] = { 0, 0 };

    for (; x < end; x += 4)
        for (int32_t i = 0; i < 8; i++)
            fully_connected_s8__dsp_two(&low[i / 4], &both[i / 4], (uint32_t)*w++, x[i % 4]);
    for (int32_t i = 0; i < 2; i++) {
        sums[2 * i] = (int32_t)low[i];
        sums[2 * i + 1] = (int32_t)(both[i] - low[i]) >> 8;
    }
}

#endif

/* A row of x and the zeros that it lacks to a multiple of eight; gives the end of the words. */
static inline const uint32_t *fully_connected_s8__dsp_widen(uint32_t *wide, const int8_t *x, int32_t x_c)
{
    const uint32_t *const end = wide + (x_c + 7) / 8 * 4;

    for (; x_c >= 4; x_c -= 4, x += 4, wide += 2)
        fully_connected_s8__dsp_put(wide, x);
    for (; wide < end; wide += 2, x_c = 0) {
        int8_t rest[4] = { 0, 0, 0, 0 };
        for (int32_t i = 0; i < x_c; i++)
            rest[i] = x[i];
        fully_connected_s8__dsp_put(wide, rest);
    }
    return end;
}

/* Up to four outputs from their sums, the first of them output o. */
static inline void fully_connected_s8__dsp_store(
    const fully_connected_s8__dsp_params *p, int32_t o, const int32_t sums[4], int8_t *y)
{
    const int32_t low = p->clamp_min, high = p->clamp_max, y_zero = p->y_zero, next = p->per_channel;
    const int32_t *bias = p->bias + o, *multiplier = p->multiplier + next * o;
    const int8_t *shift = p->shift + next * o, *const end = y + nn_min(4, p->y_c - o);

    for (; y < end; multiplier += next, shift += next) {
        const int32_t right = -*shift, twice = 2 * (*bias++ + *sums++);
        const int32_t value = nn_short_requantize(twice, *multiplier, nn_short_addend(y_zero, right), right);
        *y++ = (int8_t)nn_clamp(value, low, high);
    }
}

static inline void fully_connected_s8__dsp(
    const fully_connected_s8__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    uint32_t *const wide = (uint32_t *)scratch;

    for (int32_t row = 0; row < p->rows; row++, x += p->x_c, y += p->y_c) {
        const uint32_t *const end = fully_connected_s8__dsp_widen(wide, x, p->x_c);
        const int32_t *w = p->w;
        for (int32_t o = 0; o < p->y_c; o += 4, w += 2 * (end - wide)) {
            int32_t sums[4];
            fully_connected_s8__dsp_sums(sums, w, wide, end);
            fully_connected_s8__dsp_store(p, o, sums, y + o);
        }
    }
}

#endif
