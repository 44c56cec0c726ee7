/* 3x3 convolution of stride one, any padding, int8, NHWC, no groups, by tiles of 4x4 outputs: 36 products for 144 multiply-
 * accumulates (F(4x4, 3x3) with the points 0, 1, -1, 2, -2). For cores with the DSP extension.
 *
 * The host has multiplied the weights' transform so that it is whole numbers; what comes out is 576 = 64 * 9 times the sum,
 * of which the inverse of 9 modulo 2^32 makes 64 times the sum.
 *
 * Values are read as x + 128, 0 to 255, two channels in the halves of a word, which is added, subtracted and shifted as one
 * number: its upper half is right as long as the lower one is not negative, and NN_WINOGRAD4_LIFT added at the end makes it so,
 * for V is -12750 to 17340. What that adds to the sums is taken off their start. */
#ifndef NN_CONV2D_S8_WINOGRAD4__DSP_H
#define NN_CONV2D_S8_WINOGRAD4__DSP_H

#include "winograd.h"

#define NN_WINOGRAD4_LIFT 12800
#define NN_WINOGRAD4_INVERSE_9 0x38E38E39
#define NN_WINOGRAD4_SCALE 6            /* 64 times the sum */
#define NN_WINOGRAD4_SHIFT 8            /* of proven constants */

typedef nn_winograd conv2d_s8_winograd4__dsp_params;

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__) && !defined(__clang__)


/* Six numbers d0 to d5 into v0 v1 v4 v2 v3 v5, in their registers and in this order, each with `lift` in it:
 * v0 = 4 d0 - 5 d2 + d4, v1 = -4 d1 - 4 d2 + d3 + d4, v2 = 4 d1 - 4 d2 - d3 + d4, v3 = -2 d1 - d2 + 2 d3 + d4,
 * v4 = 2 d1 - d2 - 2 d3 + d4, v5 = 4 d1 - 5 d3 + d5. */
#define NN_WINOGRAD4_SIX(d0, d1, d2, d3, d4, d5, spare, lift)   \
    "sub    " d0 ", " d0 ", " d2 "\n\t"                         \
    "sub    " spare ", " d4 ", " d2 "\n\t"                      \
    "sub    " d4 ", " d4 ", " d2 ", lsl #2\n\t"                 \
    "sub    " d2 ", " d3 ", " d1 "\n\t"                         \
    "sub    " d5 ", " d5 ", " d3 "\n\t"                         \
    "sub    " d3 ", " d3 ", " d1 ", lsl #2\n\t"                 \
    lift(spare) lift(d4) lift(d5)                               \
    "add    " d0 ", " spare ", " d0 ", lsl #2\n\t"              \
    "add    " d1 ", " d4 ", " d3 "\n\t"                         \
    "sub    " d5 ", " d5 ", " d2 ", lsl #2\n\t"                 \
    "sub    " d3 ", " d4 ", " d3 "\n\t"                         \
    "add    " d4 ", " spare ", " d2 ", lsl #1\n\t"              \
    "sub    " d2 ", " spare ", " d2 ", lsl #1\n\t"
#define NN_WINOGRAD4_UNLIFTED(number)
#define NN_WINOGRAD4_LIFTED(number) "add " number ", #" NN_TEXT(NN_WINOGRAD4_LIFT) "\n\t"

/* The n-th column of the lines (r0), channels k0 k2, then k1 k3: each leaves six words on the stack. */
#define NN_WINOGRAD4_COLUMN(n)                                  \
    "ldmia  r0, {r2-r7}\n\t"                                    \
    "ldr    r1, [sp, #48*" #n "]\n\t"                           \
    "add    r0, r0, r1\n\t"                                     \
    "uxtb16 r8, r2\n\t"                                         \
    "uxtb16 r9, r3\n\t"                                         \
    "uxtb16 r10, r4\n\t"                                        \
    "uxtb16 r11, r5\n\t"                                        \
    "uxtb16 r12, r6\n\t"                                        \
    "uxtb16 lr, r7\n\t"                                         \
    NN_WINOGRAD4_SIX("r8", "r9", "r10", "r11", "r12", "lr", "r1", NN_WINOGRAD4_UNLIFTED) \
    "stmdb  sp!, {r8-r12, lr}\n\t"                              \
    "uxtb16 r8, r2, ror #8\n\t"                                 \
    "uxtb16 r9, r3, ror #8\n\t"                                 \
    "uxtb16 r10, r4, ror #8\n\t"                                \
    "uxtb16 r11, r5, ror #8\n\t"                                \
    "uxtb16 r12, r6, ror #8\n\t"                                \
    "uxtb16 lr, r7, ror #8\n\t"                                 \
    NN_WINOGRAD4_SIX("r8", "r9", "r10", "r11", "r12", "lr", "r1", NN_WINOGRAD4_UNLIFTED) \
    "stmdb  sp!, {r8-r12, lr}\n\t"

/* Six positions of V (r0, r1 bytes apart) from the words at `place` in the six columns (r2, the last column first). */
#define NN_WINOGRAD4_ROW(place)                                 \
    "ldr    r3, [r2, #240+4*" #place "]\n\t"                    \
    "ldr    r4, [r2, #192+4*" #place "]\n\t"                    \
    "ldr    r5, [r2, #144+4*" #place "]\n\t"                    \
    "ldr    r6, [r2, #96+4*" #place "]\n\t"                     \
    "ldr    r7, [r2, #48+4*" #place "]\n\t"                     \
    "ldr    r8, [r2, #4*" #place "]\n\t"                        \
    NN_WINOGRAD4_SIX("r3", "r4", "r5", "r6", "r7", "r8", "r9", NN_WINOGRAD4_LIFTED) \
    "str    r3, [r0]\n\t"                                       \
    "str    r4, [r0, r1]\n\t"                                   \
    "add    r0, r0, r1, lsl #1\n\t"                             \
    "str    r6, [r0]\n\t"                                       \
    "str    r7, [r0, r1]\n\t"                                   \
    "add    r0, r0, r1, lsl #1\n\t"                             \
    "str    r5, [r0]\n\t"                                       \
    "str    r8, [r0, r1]\n\t"                                   \
    "add    r0, r0, r1, lsl #1\n\t"

/* sp: column_step, v, position_step; r4 to r11 and lr as they were. */
NN_NAKED static void nn_winograd4_transform(
    const uint32_t *lines __attribute__((unused)), int32_t column_step __attribute__((unused)),
    uint32_t *v __attribute__((unused)), int32_t position_step __attribute__((unused)))
{
    __asm__("push   {r1-r11, lr}\n\t"
            NN_WINOGRAD4_COLUMN(0) NN_WINOGRAD4_COLUMN(1) NN_WINOGRAD4_COLUMN(2)
            NN_WINOGRAD4_COLUMN(3) NN_WINOGRAD4_COLUMN(4) NN_WINOGRAD4_COLUMN(5)
            "ldrd   r0, r1, [sp, #292]\n\t"
            "add    r2, sp, #24\n"
            "1:\n\t"                            /* k0 k2, then k1 k3 */
            NN_WINOGRAD4_ROW(0) NN_WINOGRAD4_ROW(1) NN_WINOGRAD4_ROW(3)
            NN_WINOGRAD4_ROW(4) NN_WINOGRAD4_ROW(2) NN_WINOGRAD4_ROW(5)
            "ldr    r0, [sp, #292]\n\t"
            "add    r0, r0, #8\n\t"
            "cmp    sp, r2\n\t"
            "mov    r2, sp\n\t"
            "bne    1b\n\t"
            "add    sp, sp, #300\n\t"
            "pop    {r4-r11, pc}");
}

/* Six sums, r2 to r7, into four:
 * y0 = 2 m0 + 4 m1 + 4 m2 + m3 + m4, 2 y1 = 4 m1 - 4 m2 + 2 m3 - 2 m4, 4 y2 = 4 m1 + 4 m2 + 4 m3 + 4 m4,
 * 4 y3 = 4 m1 - 4 m2 + 8 m3 - 8 m4 + 8 m5; y1 to y3 come without their factors. */
#define NN_WINOGRAD4_FOUR(y0, y1, y2, y3)                       \
    "add    r8, r3, r4\n\t"                                     \
    "sub    r3, r3, r4\n\t"                                     \
    "add    r9, r5, r6\n\t"                                     \
    "sub    r5, r5, r6\n\t"                                     \
    "add    " y0 ", r9, r8, lsl #2\n\t"                         \
    "add    " y0 ", " y0 ", r2, lsl #1\n\t"                     \
    "add    " y1 ", r5, r3, lsl #1\n\t"                         \
    "add    " y2 ", r8, r9\n\t"                                 \
    "add    " y3 ", r3, r5, lsl #1\n\t"                         \
    "add    " y3 ", " y3 ", r7, lsl #1\n\t"

/* The n-th column of M: four words on the stack. */
#define NN_WINOGRAD4_SUMS(n)                                    \
    "ldr    r2, [r0, #16*" #n "]\n\t"                           \
    "ldr    r3, [r0, #96+16*" #n "]\n\t"                        \
    "ldr    r4, [r0, #192+16*" #n "]\n\t"                       \
    "ldr    r5, [r0, #288+16*" #n "]\n\t"                       \
    "ldr    r6, [r0, #384+16*" #n "]\n\t"                       \
    "ldr    r7, [r0, #480+16*" #n "]\n\t"                       \
    NN_WINOGRAD4_FOUR("r10", "r11", "r12", "lr")                \
    "push   {r10-r12, lr}\n\t"

/* The n-th row of the tile from these words: 64 times the sums with their start, in r10, r11, r8, r9. r1: start, r12: inverse
 * of 9; `factor`: the row's own factor as a shift. Then r2: addend, r3: shift, r4: column step, r5: row step. */
#define NN_WINOGRAD4_OUTPUTS(n, factor)                         \
    "ldr    r2, [sp, #96+4*" #n "]\n\t"                         \
    "ldr    r3, [sp, #80+4*" #n "]\n\t"                         \
    "ldr    r4, [sp, #64+4*" #n "]\n\t"                         \
    "ldr    r5, [sp, #48+4*" #n "]\n\t"                         \
    "ldr    r6, [sp, #32+4*" #n "]\n\t"                         \
    "ldr    r7, [sp, #16+4*" #n "]\n\t"                         \
    NN_WINOGRAD4_FOUR("r10", "r11", "r8", "r9")                 \
    "mul    r10, r10, r12\n\t"                                  \
    "mul    r11, r11, r12\n\t"                                  \
    "mul    r8, r8, r12\n\t"                                    \
    "mul    r9, r9, r12\n\t"                                    \
    "add    r10, r1, r10, lsl #" #factor "\n\t"                 \
    "add    r11, r1, r11, lsl #" #factor "+1\n\t"               \
    "add    r8, r1, r8, lsl #" #factor "+2\n\t"                 \
    "add    r9, r1, r9, lsl #" #factor "+2\n\t"                 \
    "ldmia  sp, {r2-r5}\n\t"

#define NN_WINOGRAD4_PROVEN(sum)                                \
    "smmlar " sum ", " sum ", lr, r2\n\t"                       \
    "ssat   " sum ", #8, " sum ", asr #" NN_TEXT(NN_WINOGRAD4_SHIFT) "\n\t"

/* TFLM's formula, of twice the sum: half away from zero is one less below zero. */
#define NN_WINOGRAD4_FORMULA(sum)                               \
    "asr    " sum ", " sum ", #" NN_TEXT(NN_WINOGRAD4_SCALE) "-1\n\t" \
    "add    r6, r2, " sum ", asr #31\n\t"                       \
    "smmlar " sum ", " sum ", lr, r6\n\t"                       \
    "asr    " sum ", " sum ", r3\n\t"                           \
    "ssat   " sum ", #8, " sum "\n\t"

#define NN_WINOGRAD4_STORE                                      \
    "strb   r10, [r0]\n\t"                                      \
    "strb   r11, [r0, r4]\n\t"                                  \
    "add    r6, r0, r4, lsl #1\n\t"                             \
    "strb   r8, [r6]\n\t"                                       \
    "strb   r9, [r6, r4]\n\t"                                   \
    "add    r0, r0, r5\n\t"

#define NN_WINOGRAD4_TILE_ROW(n, factor, requantized)           \
    NN_WINOGRAD4_OUTPUTS(n, factor)                             \
    requantized("r10") requantized("r11") requantized("r8") requantized("r9") NN_WINOGRAD4_STORE

/* sp: constants, y, row_step; r4 to r11 and lr as they were; column_step. Later below them: six columns of four words; below
 * those addend, shift, column step, row step. */
NN_NAKED static void nn_winograd4_outputs(
    const int32_t *sums __attribute__((unused)), const int32_t *constants __attribute__((unused)),
    int8_t *y __attribute__((unused)), int32_t row_step __attribute__((unused)), int32_t column_step __attribute__((unused)))
{
    __asm__("push   {r1-r11, lr}\n\t"
            NN_WINOGRAD4_SUMS(0) NN_WINOGRAD4_SUMS(1) NN_WINOGRAD4_SUMS(2)
            NN_WINOGRAD4_SUMS(3) NN_WINOGRAD4_SUMS(4) NN_WINOGRAD4_SUMS(5)
            "ldr    r7, [sp, #96]\n\t"
            "ldr    r0, [sp, #100]\n\t"
            "ldmia  r7, {r1-r4}\n\t"
            "mov    lr, r2\n\t"                 /* multiplier */
            "ldr    r5, [sp, #144]\n\t"
            "ldr    r6, [sp, #104]\n\t"
            "push   {r3-r6}\n\t"
            "movw   r12, #:lower16:" NN_TEXT(NN_WINOGRAD4_INVERSE_9) "\n\t"
            "movt   r12, #:upper16:" NN_TEXT(NN_WINOGRAD4_INVERSE_9) "\n\t"
            "cmp    r4, #0\n\t"
            "bne    1f\n\t"
            NN_WINOGRAD4_TILE_ROW(0, 0, NN_WINOGRAD4_PROVEN) NN_WINOGRAD4_TILE_ROW(1, 1, NN_WINOGRAD4_PROVEN)
            NN_WINOGRAD4_TILE_ROW(2, 2, NN_WINOGRAD4_PROVEN) NN_WINOGRAD4_TILE_ROW(3, 2, NN_WINOGRAD4_PROVEN)
            "b      2f\n"
            "1:\n\t"
            NN_WINOGRAD4_TILE_ROW(0, 0, NN_WINOGRAD4_FORMULA) NN_WINOGRAD4_TILE_ROW(1, 1, NN_WINOGRAD4_FORMULA)
            NN_WINOGRAD4_TILE_ROW(2, 2, NN_WINOGRAD4_FORMULA) NN_WINOGRAD4_TILE_ROW(3, 2, NN_WINOGRAD4_FORMULA)
            "2:\n\t"
            "add    sp, sp, #124\n\t"
            "pop    {r4-r11, pc}");
}

#else

/* `numbers` and `out` lie so many words from one to the next. */
static inline void nn_winograd4_six(const uint32_t *d, int32_t d_step, uint32_t *v, int32_t v_step, uint32_t lift)
{
    const uint32_t d1 = d[d_step], d2 = d[2 * d_step], d3 = d[3 * d_step], d4 = d[4 * d_step];

    v[0] = 4 * d[0] - 5 * d2 + d4 + lift;
    v[v_step] = d3 + d4 - 4 * (d1 + d2) + lift;
    v[2 * v_step] = d4 - d3 + 4 * (d1 - d2) + lift;
    v[3 * v_step] = d4 - d2 + 2 * (d3 - d1) + lift;
    v[4 * v_step] = d4 - d2 - 2 * (d3 - d1) + lift;
    v[5 * v_step] = 4 * d1 - 5 * d3 + d[5 * d_step] + lift;
}

static inline void nn_winograd4_transform(const uint32_t *lines, int32_t column_step, uint32_t *v, int32_t position_step)
{
    for (int32_t odd = 0; odd < 2; odd++) {
        uint32_t columns[6][6];
        for (int32_t i = 0; i < 6; i++) {
            uint32_t rows[6];
            for (int32_t j = 0; j < 6; j++)
                rows[j] = lines[i * column_step / 4 + j] >> 8 * odd & 0x00ff00ff;
            nn_winograd4_six(rows, 1, columns[i], 1, 0);
        }
        for (int32_t j = 0; j < 6; j++)
            nn_winograd4_six(
                &columns[0][j], 6, v + 2 * odd + 6 * j * position_step / 4, position_step / 4, NN_WINOGRAD4_LIFT);
    }
}

static inline void nn_winograd4_four(const uint32_t *m, int32_t m_step, uint32_t y[4])
{
    const uint32_t m1 = m[m_step], m2 = m[2 * m_step], m3 = m[3 * m_step], m4 = m[4 * m_step];

    y[0] = 2 * m[0] + 4 * (m1 + m2) + m3 + m4;
    y[1] = 4 * (m1 - m2) + 2 * (m3 - m4);
    y[2] = 4 * (m1 + m2 + m3 + m4);
    y[3] = 4 * (m1 - m2) + 8 * (m3 - m4 + m[5 * m_step]);
}

static inline void nn_winograd4_outputs(
    const int32_t *sums, const int32_t *constants, int8_t *y, int32_t row_step, int32_t column_step)
{
    uint32_t columns[6][4];

    for (int32_t j = 0; j < 6; j++)
        nn_winograd4_four((const uint32_t *)sums + 4 * j, 24, columns[j]);
    for (int32_t i = 0; i < 4; i++) {
        uint32_t row[4];
        nn_winograd4_four(&columns[0][i], 4, row);
        for (int32_t j = 0; j < 4; j++)
            y[i * row_step + j * column_step] = (int8_t)nn_saturated(nn_winograd_rescaled(
                row[j] * NN_WINOGRAD4_INVERSE_9, constants, NN_WINOGRAD4_SCALE, NN_WINOGRAD4_SHIFT));
    }
}

#endif

static inline void conv2d_s8_winograd4__dsp(
    const conv2d_s8_winograd4__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    static const nn_winograd_tile tile = { 4, UINT32_C(0x80808080), nn_winograd4_transform, nn_winograd4_outputs };

    nn_winograd_layer(p, &tile, x, y, scratch);
}

#endif
