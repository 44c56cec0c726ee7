/* The products of two pixels with every output channel, four channels at a time: the inner loop of convolutions on cores with
 * the DSP extension. pipeline/ops/_pixel_pair.py writes the stream it reads and proves the constants in it.
 *
 * Columns: what two windows hold, fours of values (k0, k1, k2, k3) of both, widened to 16 bits: k0 k2 of the first pixel, k0 k2
 * of the second, k1 k3 of the first, k1 k3 of the second; each pair is one word, the former in its lower half.
 *
 * The stream has all else in the order of use, for each four channels o0 to o3:
 *     start of o0, of o0 and o1 together, of o2, of o2 and o3 together;
 *     for each four values: weights of o0 o1 for k0 k2, of o2 o3 for k0 k2, of o0 o1 for k1 k3, of o2 o3 for k1 k3;
 *     1, then the multipliers of o0 o1, their addends, the same of o2 o3;
 *     or 0, then of each channel TFLM's multiplier, rounding constant with zero point, and shift.
 *
 * A half of a weight word is 256 * w1 + w0, two channels' weights in one number. Multiplied as it is it gives 256 * sum1 +
 * sum0, and its lower byte alone, as SXTB16 takes it, sum0: their difference is 256 * sum1. */
#ifndef NN_PIXEL_PAIR_H
#define NN_PIXEL_PAIR_H

#include "nn.h"

typedef struct {
    const int32_t *stream;
    int32_t whole, words;               /* of the stream: for all whole groups of four channels; in all */
    int32_t fours;                      /* of values in a column */
    int32_t y_c, clamp_min, clamp_max;
} nn_pixel_pair;

#define NN_PIXEL_PAIR_SHIFT 4           /* of proven constants, of lower channels */
#define NN_PIXEL_PAIR_UPPER_SHIFT 12    /* of upper channels, whose sums come 256 times */

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__thumb2__) && defined(__GNUC__) \
    && !defined(__clang__)

/* Two values of each column (r10: first, r11: second) with their weights of four channels (r8: o0 o1, r9: o2 o3). */
#define NN_PIXEL_PAIR_TWO                                       \
    "ldrd   r8, r9, [r12], #8\n\t"                              \
    "ldrd   r10, r11, [lr], #8\n\t"                             \
    "smlad  r1, r8, r10, r1\n\t"                                \
    "smlad  r5, r8, r11, r5\n\t"                                \
    "smlad  r3, r9, r10, r3\n\t"                                \
    "smlad  r7, r9, r11, r7\n\t"                                \
    "sxtb16 r8, r8\n\t"                                         \
    "sxtb16 r9, r9\n\t"                                         \
    "smlad  r0, r8, r10, r0\n\t"                                \
    "smlad  r4, r8, r11, r4\n\t"                                \
    "smlad  r2, r9, r10, r2\n\t"                                \
    "smlad  r6, r9, r11, r6\n\t"
#define NN_PIXEL_PAIR_FOUR NN_PIXEL_PAIR_TWO NN_PIXEL_PAIR_TWO

/* Two sums of one channel by TFLM's formula: doubled, multiplied, shifted; half away from zero is one less below zero.
 * r8: multiplier, r9: rounding constant with zero point, r10: shift. */
#define NN_PIXEL_PAIR_FORMULA(doubled, first, second)           \
    "ldmia  r12!, {r8, r9, r10}\n\t"                            \
    doubled(first)                                              \
    doubled(second)                                             \
    "add    r11, r9, " first ", asr #31\n\t"                    \
    "smmlar " first ", " first ", r8, r11\n\t"                  \
    "add    r11, r9, " second ", asr #31\n\t"                   \
    "smmlar " second ", " second ", r8, r11\n\t"                \
    "asr    " first ", " first ", r10\n\t"                      \
    "asr    " second ", " second ", r10\n\t"
#define NN_PIXEL_PAIR_ONCE(sum) "lsl " sum ", " sum ", #1\n\t"
#define NN_PIXEL_PAIR_256_TIMES(sum) "asr " sum ", " sum ", #7\n\t"
#define NN_PIXEL_PAIR_SATURATED(sum) "ssat " sum ", #8, " sum "\n\t"
#define NN_PIXEL_PAIR_LOWER(sum) "ssat " sum ", #8, " sum ", asr #" NN_TEXT(NN_PIXEL_PAIR_SHIFT) "\n\t"
#define NN_PIXEL_PAIR_UPPER(sum) "ssat " sum ", #8, " sum ", asr #" NN_TEXT(NN_PIXEL_PAIR_UPPER_SHIFT) "\n\t"

/* The groups of the stream up to `end`: the outputs of their channels, for both pixels.
 *
 * r0 to r3: sums of o0 to o3 for the first pixel, r4 to r7: for the second, of o1 and o3 with o0 and o2 in them;
 * r8 and r9: weights, r10 and r11: values, then constants; r12: stream, lr: columns.
 * sp: end of the columns, columns, y of the first, y of the second; r4 to r11 and lr as they were; where the loop is entered,
 * end of the stream (the arguments that the caller put there).
 *
 * The loop takes four fours of values a round; the first round starts inside it with what the others leave. */
__attribute__((naked, noipa)) static void nn_pixel_pair_groups(
    const int32_t *stream __attribute__((unused)), const int16_t *columns __attribute__((unused)),
    int8_t *first __attribute__((unused)), int8_t *second __attribute__((unused)), int32_t fours __attribute__((unused)),
    const int32_t *end __attribute__((unused)))
{
    __asm__("push   {r0-r11, lr}\n\t"
            "mov    r12, r0\n\t"
            "ldr    r4, [sp, #52]\n\t"
            "add    r5, r1, r4, lsl #4\n\t"
            "str    r5, [sp]\n\t"
            "sub    r4, r4, #1\n\t"
            "and    r4, r4, #3\n\t"
            "add    r4, r4, #1\n\t"
            "add    r4, r4, r4, lsl #1\n\t"     /* 96 bytes of code a four */
            "adr    r5, 3f\n\t"
            "sub    r5, r5, r4, lsl #5\n\t"
            "orr    r5, r5, #1\n\t"             /* Thumb */
            "str    r5, [sp, #52]\n"

            "1:\n\t"                            /* each four channels */
            "ldmia  r12, {r4-r7}\n\t"
            "ldmia  r12!, {r0-r3}\n\t"
            "ldr    lr, [sp, #4]\n\t"
            "ldr    pc, [sp, #52]\n"
            "2:\n\t"
            NN_PIXEL_PAIR_FOUR NN_PIXEL_PAIR_FOUR NN_PIXEL_PAIR_FOUR NN_PIXEL_PAIR_FOUR
            "3:\n\t"
            "ldr    r8, [sp]\n\t"
            "cmp    lr, r8\n\t"
            "bne    2b\n\t"
            "ldr    r8, [r12], #4\n\t"
            "sub    r1, r1, r0\n\t"
            "sub    r3, r3, r2\n\t"
            "sub    r5, r5, r4\n\t"
            "sub    r7, r7, r6\n\t"
            "cmp    r8, #0\n\t"
            "beq    4f\n\t"

            "ldmia  r12!, {r8-r11}\n\t"         /* the proven constants */
            "smmlar r0, r0, r8, r10\n\t"
            "smmlar r1, r1, r9, r11\n\t"
            "smmlar r4, r4, r8, r10\n\t"
            "smmlar r5, r5, r9, r11\n\t"
            "ldmia  r12!, {r8-r11}\n\t"
            "smmlar r2, r2, r8, r10\n\t"
            "smmlar r3, r3, r9, r11\n\t"
            "smmlar r6, r6, r8, r10\n\t"
            "smmlar r7, r7, r9, r11\n\t"
            NN_PIXEL_PAIR_LOWER("r0") NN_PIXEL_PAIR_UPPER("r1")
            NN_PIXEL_PAIR_LOWER("r2") NN_PIXEL_PAIR_UPPER("r3")
            NN_PIXEL_PAIR_LOWER("r4") NN_PIXEL_PAIR_UPPER("r5")
            NN_PIXEL_PAIR_LOWER("r6") NN_PIXEL_PAIR_UPPER("r7")
            "5:\n\t"
            "ldrd   r8, r9, [sp, #8]\n\t"
            "strb   r0, [r8], #1\n\t"
            "strb   r1, [r8], #1\n\t"
            "strb   r2, [r8], #1\n\t"
            "strb   r3, [r8], #1\n\t"
            "strb   r4, [r9], #1\n\t"
            "strb   r5, [r9], #1\n\t"
            "strb   r6, [r9], #1\n\t"
            "strb   r7, [r9], #1\n\t"
            "strd   r8, r9, [sp, #8]\n\t"
            "ldr    r10, [sp, #56]\n\t"
            "cmp    r12, r10\n\t"
            "bne    1b\n\t"
            "add    sp, sp, #16\n\t"
            "pop    {r4-r11, pc}\n"

            "4:\n\t"                            /* TFLM's formula */
            NN_PIXEL_PAIR_FORMULA(NN_PIXEL_PAIR_ONCE, "r0", "r4")
            NN_PIXEL_PAIR_FORMULA(NN_PIXEL_PAIR_256_TIMES, "r1", "r5")
            NN_PIXEL_PAIR_FORMULA(NN_PIXEL_PAIR_ONCE, "r2", "r6")
            NN_PIXEL_PAIR_FORMULA(NN_PIXEL_PAIR_256_TIMES, "r3", "r7")
            NN_PIXEL_PAIR_SATURATED("r0") NN_PIXEL_PAIR_SATURATED("r1")
            NN_PIXEL_PAIR_SATURATED("r2") NN_PIXEL_PAIR_SATURATED("r3")
            NN_PIXEL_PAIR_SATURATED("r4") NN_PIXEL_PAIR_SATURATED("r5")
            NN_PIXEL_PAIR_SATURATED("r6") NN_PIXEL_PAIR_SATURATED("r7")
            "b      5b");
}

/* Fours of neighbouring values of both windows. Returns where the columns go on. */
static inline int16_t *nn_pixel_pair_widen_fours(
    int16_t *columns, const int8_t *first, const int8_t *second, int32_t fours)
{
    uint32_t a, b, c, d;

#define NN_PIXEL_PAIR_WIDEN(fours)                                                              \
    __asm__ volatile(".rept " #fours "\n\t"                                                     \
                     "ldr    %[a], [%[first]], #4\n\t"                                          \
                     "ldr    %[b], [%[second]], #4\n\t"                                         \
                     "sxtb16 %[c], %[a]\n\t"                                                    \
                     "sxtb16 %[d], %[b]\n\t"                                                    \
                     "strd   %[c], %[d], [%[to]], #8\n\t"                                       \
                     "sxtb16 %[a], %[a], ror #8\n\t"                                            \
                     "sxtb16 %[b], %[b], ror #8\n\t"                                            \
                     "strd   %[a], %[b], [%[to]], #8\n\t"                                       \
                     ".endr"                                                                    \
                     : [first] "+r"(first), [second] "+r"(second), [to] "+r"(columns), [a] "=&r"(a), [b] "=&r"(b), \
                       [c] "=&r"(c), [d] "=&r"(d)                                               \
                     :                                                                          \
                     : "memory")

    for (; fours >= 4; fours -= 4)
        NN_PIXEL_PAIR_WIDEN(4);
    if (fours & 2)
        NN_PIXEL_PAIR_WIDEN(2);
    if (fours & 1)
        NN_PIXEL_PAIR_WIDEN(1);
#undef NN_PIXEL_PAIR_WIDEN
    return columns;
}

#else

/* Channel 0 to 3 of a group: its output, from the lower channel's sum and that of both. Unsigned: 256 * sum1 + sum0 wraps, and
 * their difference wraps back. */
static inline int8_t nn_pixel_pair_output(const int32_t *constants, int32_t channel, uint32_t lower_sum, uint32_t both)
{
    const int32_t upper = channel & 1, proven = constants[0], sum = (int32_t)(upper ? both - lower_sum : lower_sum);
    const int32_t *const c = constants + 1 + (proven ? (channel & 2) * 2 + upper : channel * 3);
    const int32_t v = proven ? sum : upper ? sum >> 7 : sum * 2, addend = proven ? c[2] : c[1] - (v < 0);
    const int32_t shift = proven ? (upper ? NN_PIXEL_PAIR_UPPER_SHIFT : NN_PIXEL_PAIR_SHIFT) : c[2];
    const int32_t high = (int32_t)(((int64_t)v * c[0] + ((int64_t)1 << 31)) >> 32) + addend;

    return (int8_t)nn_saturated(high >> shift);
}

/* What a weight word's half adds to the two sums. */
static inline void nn_pixel_pair_add(uint32_t *lower_sum, uint32_t *both, uint32_t word, int32_t half, int32_t value)
{
    const int16_t weights = (int16_t)(word >> 16 * half);

    *lower_sum += (uint32_t)((int8_t)weights * value);
    *both += (uint32_t)(weights * value);
}

static inline void nn_pixel_pair_groups(
    const int32_t *stream, const int16_t *columns, int8_t *first, int8_t *second, int32_t fours, const int32_t *end)
{
    int8_t *const y[2] = { first, second };

    for (int32_t o = 0; stream < end; o += 4, stream += 4 + 4 * fours + (stream[4 + 4 * fours] ? 9 : 13))
        for (int32_t i = 0; i < 8; i++) {
            const int32_t channel = i & 3, pixel = i >> 2;
            uint32_t lower_sum = (uint32_t)stream[channel & 2], both = (uint32_t)stream[channel | 1];
            for (int32_t k = 0; k < 4 * fours; k++) {
                const int32_t four = k / 4, odd = k & 1, half = k >> 1 & 1;
                const uint32_t word = (uint32_t)stream[4 + four * 4 + odd * 2 + (channel >> 1)];
                nn_pixel_pair_add(&lower_sum, &both, word, half, columns[four * 8 + odd * 4 + pixel * 2 + half]);
            }
            y[pixel][o + channel] = nn_pixel_pair_output(stream + 4 + 4 * fours, channel, lower_sum, both);
        }
}

static inline int16_t *nn_pixel_pair_widen_fours(
    int16_t *columns, const int8_t *first, const int8_t *second, int32_t fours)
{
    for (int32_t k = 0; k < 4 * fours; k++) {
        int16_t *const place = columns + k / 4 * 8 + (k & 1) * 4 + (k >> 1 & 1);
        place[0] = first[k];
        place[2] = second[k];
    }
    return columns + fours * 8;
}

#endif

/* `count` neighbouring values of both windows; the last four is filled up with zeros, which weights of 0 will meet. */
static inline void nn_pixel_pair_widen(int16_t *columns, const int8_t *first, const int8_t *second, int32_t count)
{
    const int32_t whole = count / 4 * 4;

    columns = nn_pixel_pair_widen_fours(columns, first, second, count / 4);
    if (whole < count) {
        int8_t rest[2][4] = { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } };
        for (int32_t k = whole; k < count; k++) {
            rest[0][k % 4] = first[k];
            rest[1][k % 4] = second[k];
        }
        nn_pixel_pair_widen_fours(columns, rest[0], rest[1], 1);
    }
}

/* All output channels of two pixels. One pixel alone comes twice, with one place for its outputs. */
static inline void nn_pixel_pair_outputs(const nn_pixel_pair *p, const int16_t *columns, int8_t *first, int8_t *second)
{
    const int32_t *const end = p->stream + p->whole;

    if (p->whole)
        nn_pixel_pair_groups(p->stream, columns, first, second, p->fours, end);
    if (p->whole < p->words) {
        int8_t last[2][4];
        nn_pixel_pair_groups(end, columns, last[0], last[1], p->fours, p->stream + p->words);
        for (int32_t o = p->y_c / 4 * 4; o < p->y_c; o++) {
            first[o] = last[0][o % 4];
            second[o] = last[1][o % 4];
        }
    }
}

/* What is left when the outputs of all pixels are there. */
static inline void nn_pixel_pair_clamp(const nn_pixel_pair *p, int8_t *y, int32_t pixels)
{
    nn_clamp_values(y, pixels * p->y_c, p->clamp_min, p->clamp_max);
}

#endif
