/* y[row] = x[row] * w^T + bias, int8, for cores with the DSP extension: four outputs at a time, each weight read once, a row of x
 * widened once for all outputs (widened.h). The stream is that of pixel_pair.h, with an even number of fours. */
#ifndef NN_FULLY_CONNECTED_S8__DSP_H
#define NN_FULLY_CONNECTED_S8__DSP_H

#include "pixel_pair.h"
#include "widened.h"

typedef struct {
    int32_t rows, x_c;
    nn_pixel_pair pair;
} fully_connected_s8__dsp_params;

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__thumb2__) && defined(__GNUC__) \
    && !defined(__clang__)

/* Four values (two words of them) with their weights of four outputs. */
#define NN_FULLY_CONNECTED_FOUR(even, odd)                      \
    "ldmia.w r12!, {r4-r7}\n\t"                                 \
    "smlad  r1, r4, " even ", r1\n\t"                           \
    "smlad  r3, r5, " even ", r3\n\t"                           \
    "smlad  r1, r6, " odd ", r1\n\t"                            \
    "smlad  r3, r7, " odd ", r3\n\t"                            \
    "sxtb16 r4, r4\n\t"                                         \
    "sxtb16 r5, r5\n\t"                                         \
    "sxtb16 r6, r6\n\t"                                         \
    "sxtb16 r7, r7\n\t"                                         \
    "smlad  r0, r4, " even ", r0\n\t"                           \
    "smlad  r2, r5, " even ", r2\n\t"                           \
    "smlad  r0, r6, " odd ", r0\n\t"                            \
    "smlad  r2, r7, " odd ", r2\n\t"

/* Eight values, 108 bytes of code. */
#define NN_FULLY_CONNECTED_EIGHT                                \
    "ldmia  lr!, {r8-r11}\n\t"                                  \
    NN_FULLY_CONNECTED_FOUR("r8", "r9") NN_FULLY_CONNECTED_FOUR("r10", "r11")

/* TFLM's formula: half away from zero is one less below zero. */
#define NN_FULLY_CONNECTED_FORMULA(doubled, sum)                \
    "ldmia  r12!, {r8, r9, r10}\n\t"                            \
    doubled(sum)                                                \
    "add    r9, r9, " sum ", asr #31\n\t"                       \
    "smmlar " sum ", " sum ", r8, r9\n\t"                       \
    "asr    " sum ", " sum ", r10\n\t"                          \
    NN_PIXEL_PAIR_SATURATED(sum)

/* The outputs of the stream up to `end`; x is widened.
 * r0 to r3: sums of o0 to o3, of o1 and o3 with o0 and o2 in them; r4 to r7: weights, r8 to r11: values; r12: stream, lr: x.
 * sp: x, y, end of the stream, end of x, where the loop is entered; r4 to r11 and lr as they were; fours.
 *
 * The loop takes four eights a round; the first round starts inside it with what the others leave. */
NN_NAKED static void fully_connected_s8__dsp_groups(
    const int32_t *stream __attribute__((unused)), const uint32_t *x __attribute__((unused)),
    int8_t *y __attribute__((unused)), const int32_t *end __attribute__((unused)), int32_t fours __attribute__((unused)))
{
    __asm__("push   {r4-r11, lr}\n\t"
            "mov    r12, r0\n\t"
            "mov    r4, r1\n\t"
            "mov    r5, r2\n\t"
            "mov    r6, r3\n\t"
            "ldr    r8, [sp, #36]\n\t"
            "add    r7, r1, r8, lsl #3\n\t"
            "lsr    r8, r8, #1\n\t"
            "sub    r8, r8, #1\n\t"
            "and    r8, r8, #3\n\t"
            "add    r8, r8, #1\n\t"
            "mov    r9, #108\n\t"
            "mul    r9, r9, r8\n\t"
            "adr    r8, 3f\n\t"
            "sub    r8, r8, r9\n\t"
            "orr    r8, r8, #1\n\t"             /* Thumb */
            "push   {r4-r8}\n"

            "1:\n\t"                            /* each four outputs */
            "ldmia  r12!, {r0-r3}\n\t"
            "ldr    lr, [sp]\n\t"
            "ldr    pc, [sp, #16]\n"
            "2:\n\t"
            NN_FULLY_CONNECTED_EIGHT NN_FULLY_CONNECTED_EIGHT NN_FULLY_CONNECTED_EIGHT NN_FULLY_CONNECTED_EIGHT
            "3:\n\t"
            "ldr    r4, [sp, #12]\n\t"
            "cmp    lr, r4\n\t"
            "bne    2b\n\t"
            "ldr    r4, [r12], #4\n\t"
            "sub    r1, r1, r0\n\t"
            "sub    r3, r3, r2\n\t"
            "cmp    r4, #0\n\t"
            "beq    5f\n\t"
            "ldmia  r12!, {r4-r11}\n\t"         /* the proven constants */
            "smmlar r0, r0, r4, r6\n\t"
            "smmlar r1, r1, r5, r7\n\t"
            "smmlar r2, r2, r8, r10\n\t"
            "smmlar r3, r3, r9, r11\n\t"
            NN_PIXEL_PAIR_LOWER("r0") NN_PIXEL_PAIR_UPPER("r1") NN_PIXEL_PAIR_LOWER("r2") NN_PIXEL_PAIR_UPPER("r3")
            "4:\n\t"
            "ldrd   r4, r5, [sp, #4]\n\t"
            "strb   r0, [r4], #1\n\t"
            "strb   r1, [r4], #1\n\t"
            "strb   r2, [r4], #1\n\t"
            "strb   r3, [r4], #1\n\t"
            "str    r4, [sp, #4]\n\t"
            "cmp    r12, r5\n\t"
            "bne    1b\n\t"
            "add    sp, sp, #20\n\t"
            "pop    {r4-r11, pc}\n"

            "5:\n\t"
            NN_FULLY_CONNECTED_FORMULA(NN_PIXEL_PAIR_ONCE, "r0") NN_FULLY_CONNECTED_FORMULA(NN_PIXEL_PAIR_256_TIMES, "r1")
            NN_FULLY_CONNECTED_FORMULA(NN_PIXEL_PAIR_ONCE, "r2") NN_FULLY_CONNECTED_FORMULA(NN_PIXEL_PAIR_256_TIMES, "r3")
            "b      4b");
}

#else

static inline void fully_connected_s8__dsp_groups(
    const int32_t *stream, const uint32_t *x, int8_t *y, const int32_t *end, int32_t fours)
{
    for (; stream < end; stream += 4 + 4 * fours + (stream[4 + 4 * fours] ? 9 : 13))
        for (int32_t channel = 0; channel < 4; channel++) {
            uint32_t lower_sum = (uint32_t)stream[channel & 2], both = (uint32_t)stream[channel | 1];
            for (int32_t k = 0; k < 4 * fours; k++) {
                const int32_t four = k / 4, odd = k & 1, half = k >> 1 & 1;
                const uint32_t word = (uint32_t)stream[4 + four * 4 + odd * 2 + (channel >> 1)];
                nn_pixel_pair_add(&lower_sum, &both, word, half, nn_half(x[four * 2 + odd], half));
            }
            *y++ = nn_pixel_pair_output(stream + 4 + 4 * fours, channel, lower_sum, both);
        }
}

#endif

/* scratch: a row, widened. */
static inline void fully_connected_s8__dsp(
    const fully_connected_s8__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    uint32_t *const wide = (uint32_t *)scratch;
    const int32_t y_c = p->pair.y_c;
    const int32_t *const end = p->pair.stream + p->pair.whole;
    int8_t *to = y;

    for (int32_t row = 0; row < p->rows; row++, x += p->x_c, to += y_c) {
        nn_widened_row(wide, x, p->x_c);
        if (p->pair.whole)
            fully_connected_s8__dsp_groups(p->pair.stream, wide, to, end, p->pair.fours);
        if (p->pair.whole < p->pair.words) {
            int8_t last[4];
            fully_connected_s8__dsp_groups(end, wide, last, p->pair.stream + p->pair.words, p->pair.fours);
            for (int32_t o = y_c / 4 * 4; o < y_c; o++)
                to[o] = last[o % 4];
        }
    }
    nn_pixel_pair_clamp(&p->pair, y, p->rows);
}

#endif
