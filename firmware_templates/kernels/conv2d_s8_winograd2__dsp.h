/* 3x3 convolution of stride one, any padding, int8, NHWC, no groups, by tiles of 2x2 outputs: 16 products for 36 multiply-
 * accumulates (F(2x2, 3x3) with the points 0, 1, -1). For cores with the DSP extension. The host has doubled both matrices that
 * transform the weights, so that they are whole numbers; what comes out is 4 times the sum. */
#ifndef NN_CONV2D_S8_WINOGRAD2__DSP_H
#define NN_CONV2D_S8_WINOGRAD2__DSP_H

#include "winograd.h"

#define NN_WINOGRAD2_SCALE 2            /* 4 times the sum */
#define NN_WINOGRAD2_SHIFT 4            /* of proven constants */

typedef nn_winograd conv2d_s8_winograd2__dsp_params;

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__) && !defined(__clang__)

/* Four numbers, in both halves, into d0 - d2, d1 + d2, d2 - d1, d1 - d3. */
#define NN_WINOGRAD2_FOUR(d0, d1, d2, d3, v0, v1, v2, v3)       \
    "ssub16 " v0 ", " d0 ", " d2 "\n\t"                         \
    "sadd16 " v1 ", " d1 ", " d2 "\n\t"                         \
    "ssub16 " v2 ", " d2 ", " d1 "\n\t"                         \
    "ssub16 " v3 ", " d1 ", " d3 "\n\t"

/* A column of the lines (r0, r1 bytes to the next), channels k0 k2, then k1 k3: each leaves four words on the stack. */
#define NN_WINOGRAD2_COLUMN                                     \
    "ldmia  r0, {r2-r5}\n\t"                                    \
    "add    r0, r0, r1\n\t"                                     \
    "sxtb16 r6, r2\n\t"                                         \
    "sxtb16 r7, r3\n\t"                                         \
    "sxtb16 r8, r4\n\t"                                         \
    "sxtb16 r9, r5\n\t"                                         \
    NN_WINOGRAD2_FOUR("r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr") \
    "push   {r10-r12, lr}\n\t"                                  \
    "sxtb16 r6, r2, ror #8\n\t"                                 \
    "sxtb16 r7, r3, ror #8\n\t"                                 \
    "sxtb16 r8, r4, ror #8\n\t"                                 \
    "sxtb16 r9, r5, ror #8\n\t"                                 \
    NN_WINOGRAD2_FOUR("r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr") \
    "push   {r10-r12, lr}\n\t"

/* Four positions of V (r0, r1 bytes apart) from the n-th words of the four columns (r2, the last column first). */
#define NN_WINOGRAD2_ROW(n)                                     \
    "ldr    r3, [r2, #96+4*" #n "]\n\t"                         \
    "ldr    r4, [r2, #64+4*" #n "]\n\t"                         \
    "ldr    r5, [r2, #32+4*" #n "]\n\t"                         \
    "ldr    r6, [r2, #4*" #n "]\n\t"                            \
    NN_WINOGRAD2_FOUR("r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10") \
    "str    r7, [r0]\n\t"                                       \
    "str    r8, [r0, r1]\n\t"                                   \
    "add    r0, r0, r1, lsl #1\n\t"                             \
    "str    r9, [r0]\n\t"                                       \
    "str    r10, [r0, r1]\n\t"                                  \
    "add    r0, r0, r1, lsl #1\n\t"

/* sp: v, position_step; r4 to r11 and lr as they were. */
NN_NAKED static void nn_winograd2_transform(
    const uint32_t *lines __attribute__((unused)), int32_t column_step __attribute__((unused)),
    uint32_t *v __attribute__((unused)), int32_t position_step __attribute__((unused)))
{
    __asm__("push   {r2-r11, lr}\n\t"
            NN_WINOGRAD2_COLUMN NN_WINOGRAD2_COLUMN NN_WINOGRAD2_COLUMN NN_WINOGRAD2_COLUMN
            "ldrd   r0, r1, [sp, #128]\n\t"
            "add    r2, sp, #16\n"
            "1:\n\t"                            /* k0 k2, then k1 k3 */
            NN_WINOGRAD2_ROW(0) NN_WINOGRAD2_ROW(1) NN_WINOGRAD2_ROW(2) NN_WINOGRAD2_ROW(3)
            "ldr    r0, [sp, #128]\n\t"
            "add    r0, r0, #8\n\t"
            "cmp    sp, r2\n\t"
            "mov    r2, sp\n\t"
            "bne    1b\n\t"
            "add    sp, sp, #136\n\t"
            "pop    {r4-r11, pc}");
}

/* The n-th column of M (r0) into m0 + m1 + m2 and m1 - m2 - m3. */
#define NN_WINOGRAD2_SUMS(n, first, second)                     \
    "ldr    " first ", [r0, #16*" #n "]\n\t"                    \
    "ldr    r12, [r0, #64+16*" #n "]\n\t"                       \
    "ldr    lr, [r0, #128+16*" #n "]\n\t"                       \
    "ldr    " second ", [r0, #192+16*" #n "]\n\t"               \
    "add    " first ", " first ", r12\n\t"                      \
    "add    " first ", " first ", lr\n\t"                       \
    "sub    r12, r12, lr\n\t"                                   \
    "sub    " second ", r12, " second "\n\t"

/* The same along a row, in the first two registers. */
#define NN_WINOGRAD2_OUTPUTS(m0, m1, m2, m3)                    \
    "add    " m0 ", " m0 ", " m1 "\n\t"                         \
    "add    " m0 ", " m0 ", " m2 "\n\t"                         \
    "sub    " m1 ", " m1 ", " m2 "\n\t"                         \
    "sub    " m1 ", " m1 ", " m3 "\n\t"

/* r8: start, r9: multiplier, r10: addend, r11: shift. */
#define NN_WINOGRAD2_PROVEN(sum)                                \
    "add    " sum ", " sum ", r8\n\t"                           \
    "smmlar " sum ", " sum ", r9, r10\n\t"                      \
    "ssat   " sum ", #8, " sum ", asr #" NN_TEXT(NN_WINOGRAD2_SHIFT) "\n\t"

/* TFLM's formula, of twice the sum: half away from zero is one less below zero. */
#define NN_WINOGRAD2_FORMULA(sum)                               \
    "add    " sum ", " sum ", r8\n\t"                           \
    "asr    " sum ", " sum ", #" NN_TEXT(NN_WINOGRAD2_SCALE) "-1\n\t" \
    "add    r12, r10, " sum ", asr #31\n\t"                     \
    "smmlar " sum ", " sum ", r9, r12\n\t"                      \
    "asr    " sum ", " sum ", r11\n\t"                          \
    "ssat   " sum ", #8, " sum "\n\t"

/* r4 to r7: the tile's outputs, upper left, lower left, upper right, lower right. sp: r4 to r11 and lr as they were, column_step. */
NN_NAKED static void nn_winograd2_outputs(
    const int32_t *sums __attribute__((unused)), const int32_t *constants __attribute__((unused)),
    int8_t *y __attribute__((unused)), int32_t row_step __attribute__((unused)), int32_t column_step __attribute__((unused)))
{
    __asm__("push   {r4-r11, lr}\n\t"
            NN_WINOGRAD2_SUMS(0, "r4", "r5") NN_WINOGRAD2_SUMS(1, "r6", "r7")
            NN_WINOGRAD2_SUMS(2, "r8", "r9") NN_WINOGRAD2_SUMS(3, "r10", "r11")
            NN_WINOGRAD2_OUTPUTS("r4", "r6", "r8", "r10") NN_WINOGRAD2_OUTPUTS("r5", "r7", "r9", "r11")
            "ldmia  r1, {r8-r11}\n\t"
            "cmp    r11, #0\n\t"
            "bne    1f\n\t"
            NN_WINOGRAD2_PROVEN("r4") NN_WINOGRAD2_PROVEN("r5")
            NN_WINOGRAD2_PROVEN("r6") NN_WINOGRAD2_PROVEN("r7")
            "b      2f\n"
            "1:\n\t"
            NN_WINOGRAD2_FORMULA("r4") NN_WINOGRAD2_FORMULA("r5")
            NN_WINOGRAD2_FORMULA("r6") NN_WINOGRAD2_FORMULA("r7")
            "2:\n\t"
            "ldr    r8, [sp, #36]\n\t"
            "strb   r4, [r2]\n\t"
            "strb   r6, [r2, r8]\n\t"
            "add    r2, r2, r3\n\t"
            "strb   r5, [r2]\n\t"
            "strb   r7, [r2, r8]\n\t"
            "pop    {r4-r11, pc}");
}

#else

static inline void nn_winograd2_transform(const uint32_t *lines, int32_t column_step, uint32_t *v, int32_t position_step)
{
    for (int32_t channel = 0; channel < 4; channel++) {
        int32_t rows[4][4];
        uint32_t *to = v + 2 * (channel & 1);
        for (int32_t j = 0; j < 4; j++) {
            int32_t d[4];
            for (int32_t i = 0; i < 4; i++)
                d[i] = (int8_t)(lines[j * column_step / 4 + i] >> 8 * channel);
            rows[0][j] = d[0] - d[2];
            rows[1][j] = d[1] + d[2];
            rows[2][j] = d[2] - d[1];
            rows[3][j] = d[1] - d[3];
        }
        for (int32_t i = 0; i < 4; i++) {
            const int32_t *const d = rows[i];
            const int32_t positions[4] = { d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3] };
            for (int32_t j = 0; j < 4; j++, to += position_step / 4)
                *to = channel < 2 ? nn_pair(positions[j], 0) : nn_pair((int32_t)*to, positions[j]);
        }
    }
}

static inline void nn_winograd2_outputs(
    const int32_t *sums, const int32_t *constants, int8_t *y, int32_t row_step, int32_t column_step)
{
    const uint32_t *const m = (const uint32_t *)sums;
    uint32_t rows[2][4];

    for (int32_t j = 0; j < 4; j++) {
        const uint32_t m1 = m[16 + 4 * j], m2 = m[32 + 4 * j];
        rows[0][j] = m[4 * j] + m1 + m2;
        rows[1][j] = m1 - m2 - m[48 + 4 * j];
    }
    for (int32_t i = 0; i < 2; i++) {
        const uint32_t m1 = rows[i][1], m2 = rows[i][2], scaled[2] = { rows[i][0] + m1 + m2, m1 - m2 - rows[i][3] };
        for (int32_t j = 0; j < 2; j++)
            y[i * row_step + j * column_step] = (int8_t)nn_saturated(
                nn_winograd_rescaled(scaled[j], constants, NN_WINOGRAD2_SCALE, NN_WINOGRAD2_SHIFT));
    }
}

#endif

static inline void conv2d_s8_winograd2__dsp(
    const conv2d_s8_winograd2__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    static const nn_winograd_tile tile = { 2, 0, nn_winograd2_transform, nn_winograd2_outputs };

    nn_winograd_layer(p, &tile, x, y, scratch);
}

#endif
