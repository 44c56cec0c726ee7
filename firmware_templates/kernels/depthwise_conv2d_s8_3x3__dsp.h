/* 3x3 depthwise convolution, int8, NHWC, depth multiplier one, strides one and two, any padding, for cores with the DSP
 * extension. Four channels at a time, eight rows of the padded image are laid out by channels; then each channel keeps its nine
 * weights in six registers and goes over the rows two outputs a step. There are four channels or more; where the last are not
 * four, they are taken together with those before them, whose outputs are then computed twice. The scratch is an array of
 * cells (cells.h). */
#ifndef NN_DEPTHWISE_CONV2D_S8_3X3__DSP_H
#define NN_DEPTHWISE_CONV2D_S8_3X3__DSP_H

#include "cells.h"

/* weights: of each channel its bias is where the sum of x * w starts, in units of the sum times DEPTHWISE_3X3_FACTOR where the
 * shift is 0: then multiplier and start are proven to give TFLM's answer. Else they are TFLM's multiplier and shift. */
typedef struct {
    nn_window window;
    nn_weights weights;
} depthwise_conv2d_s8_3x3__dsp_params;

#define DEPTHWISE_3X3_FACTOR 256
#define DEPTHWISE_3X3_SHIFT 10          /* of proven constants */

/* A channel, and the way of its window. The assembly below knows the order. */
typedef struct {
    uint32_t weights[6];                /* of each row (w0, w1) and (w1, w2), their values times 256, or times 2 */
    nn_cells_row row;
    uint32_t entries[4];                /* the assembly's: where a row is entered, left for its single outputs, ... */
} depthwise_conv2d_s8_3x3__dsp_channel;

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__thumb2__) && defined(__GNUC__)

/* Three rows of a column of pairs, and the column to the right of it. */
#define NN_COLUMN "ldm r0, {r2, r3, r12}\n\t"
#define NN_NEXT_COLUMN "add.w r0, r0, #128\n\t" NN_COLUMN

/* `rows` rows of outputs of one channel; x is at its first word in the first cell.
 * r0: x, r1: y, r2, r3, r12: three words of x, then the constants, r4 to r9: weights, r10: start, r11, lr: two sums.
 * [sp]: right, next, end, [sp + 12]: multiplier, addend, [sp + 20]: pairs, singles, back, [sp + 32]: rows. */
NN_NAKED static void depthwise_conv2d_s8_3x3__dsp_rows(
    __attribute__((unused)) const uint32_t *x, __attribute__((unused)) int8_t *y,
    __attribute__((unused)) const depthwise_conv2d_s8_3x3__dsp_channel *c, __attribute__((unused)) int32_t rows)
{
    __asm__ volatile(
        "push {r3-r11, lr}\n\t"
        "add r12, r2, #28\n\t"
        "ldm r12, {r4-r11}\n\t"
        "push {r4-r11}\n\t"
        "ldm r2, {r4-r10}\n"
        "1:\n\t"
        "ldr r2, [sp, #20]\n\t"
        "add lr, r0, r2\n\t"
        "str lr, [sp, #8]\n\t"
        "cmp r0, lr\n\t"
        "beq 3f\n"
        "2:\n\t" NN_COLUMN
        "smlad r11, r2, r4, r10\n\t"
        "smlatb lr, r2, r4, r10\n\t"
        "smlad r11, r3, r6, r11\n\t"
        "smlatb lr, r3, r6, lr\n\t"
        "smlad r11, r12, r8, r11\n\t"
        "smlatb lr, r12, r8, lr\n\t" NN_NEXT_COLUMN
        "smlabt r11, r2, r5, r11\n\t"
        "smlad lr, r2, r5, lr\n\t"
        "smlabt r11, r3, r7, r11\n\t"
        "smlad lr, r3, r7, lr\n\t"
        "smlabt r11, r12, r9, r11\n\t"
        "smlad lr, r12, r9, lr\n\t"
        "ldrd r2, r3, [sp, #12]\n\t"
        "smmlar r12, r11, r2, r3\n\t"
        "add r12, r12, r11, asr #31\n\t"
        "smmlar r11, lr, r2, r3\n\t"
        "add r11, r11, lr, asr #31\n\t"
        "ldm sp, {r2, r3, lr}\n\t"
        "asr r12, r12, r2\n\t"
        "asr r11, r11, r2\n\t"
        "ssat r12, #8, r12\n\t"
        "ssat r11, #8, r11\n\t"
        "strb r12, [r1]\n\t"
        "strb r11, [r1, r3]\n\t"
        "add r1, r1, r3, lsl #1\n\t"
        "cmp r0, lr\n\t"
        "bne 2b\n"
        "3:\n\t"
        "ldr r2, [sp, #24]\n\t"
        "cbz r2, 5f\n\t"
        "add lr, r0, r2\n\t"
        "str lr, [sp, #8]\n"
        "4:\n\t" NN_COLUMN
        "smlad r11, r2, r4, r10\n\t"
        "smlad r11, r3, r6, r11\n\t"
        "smlad r11, r12, r8, r11\n\t" NN_NEXT_COLUMN
        "smlabt r11, r2, r5, r11\n\t"
        "smlabt r11, r3, r7, r11\n\t"
        "smlabt r11, r12, r9, r11\n\t"
        "ldrd r2, r3, [sp, #12]\n\t"
        "smmlar r12, r11, r2, r3\n\t"
        "add r12, r12, r11, asr #31\n\t"
        "ldm sp, {r2, r3, lr}\n\t"
        "asr r12, r12, r2\n\t"
        "ssat r12, #8, r12\n\t"
        "strb r12, [r1]\n\t"
        "add r1, r1, r3\n\t"
        "cmp r0, lr\n\t"
        "bne 4b\n"
        "5:\n\t"
        "ldrd r2, r3, [sp, #28]\n\t"
        "subs r3, r3, #1\n\t"
        "str r3, [sp, #32]\n\t"
        "sub r0, r0, r2\n\t"
        "bne 1b\n\t"
        "add sp, sp, #36\n\t"
        "pop {r4-r11, pc}");
}

/* Two outputs of a channel with proven constants, 92 bytes of code. */
#define NN_PAIR_STEP NN_COLUMN                                  \
    "smlad  r11, r2, r4, r10\n\t"                               \
    "smlatb lr, r2, r4, r10\n\t"                                \
    "smlad  r11, r3, r6, r11\n\t"                               \
    "smlatb lr, r3, r6, lr\n\t"                                 \
    "smlad  r11, r12, r8, r11\n\t"                              \
    "smlatb lr, r12, r8, lr\n\t" NN_NEXT_COLUMN                 \
    "smlabt r11, r2, r5, r11\n\t"                               \
    "smlad  lr, r2, r5, lr\n\t"                                 \
    "smlabt r11, r3, r7, r11\n\t"                               \
    "smlad  lr, r3, r7, lr\n\t"                                 \
    "smlabt r11, r12, r9, r11\n\t"                              \
    "smlad  lr, r12, r9, lr\n\t"                                \
    "ldrd   r2, r3, [sp]\n\t"                                   \
    "smmulr r11, r11, r2\n\t"                                   \
    "smmulr lr, lr, r2\n\t"                                     \
    "ssat   r11, #8, r11, asr #" NN_TEXT(DEPTHWISE_3X3_SHIFT) "\n\t" \
    "ssat   lr, #8, lr, asr #" NN_TEXT(DEPTHWISE_3X3_SHIFT) "\n\t" \
    "strb   r11, [r1]\n\t"                                      \
    "strb   lr, [r1, r3]\n\t"                                   \
    "add    r1, r1, r3, lsl #1\n\t"

/* One output, 56 bytes of code. */
#define NN_SINGLE_STEP NN_COLUMN                                \
    "smlad  r11, r2, r4, r10\n\t"                               \
    "smlad  r11, r3, r6, r11\n\t"                               \
    "smlad  r11, r12, r8, r11\n\t" NN_NEXT_COLUMN               \
    "smlabt r11, r2, r5, r11\n\t"                               \
    "smlabt r11, r3, r7, r11\n\t"                               \
    "smlabt r11, r12, r9, r11\n\t"                              \
    "ldrd   r2, r3, [sp]\n\t"                                   \
    "smmulr r11, r11, r2\n\t"                                   \
    "ssat   r11, #8, r11, asr #" NN_TEXT(DEPTHWISE_3X3_SHIFT) "\n\t" \
    "strb   r11, [r1]\n\t"                                      \
    "add.w  r1, r1, r3\n\t"

/* The same of a channel with proven constants, four steps a round; the first round starts inside it with what the others
 * leave. For no rows, only the channel's entries are found.
 * Registers as above. [sp]: multiplier, next, [sp + 8]: end of the row's pairs, bytes from row to row, [sp + 16]: end of its
 * singles, back, [sp + 24]: end of y, [sp + 28]: the entries. */
NN_NAKED static void depthwise_conv2d_s8_3x3__dsp_proven_rows(
    __attribute__((unused)) const uint32_t *x, __attribute__((unused)) int8_t *y,
    __attribute__((unused)) depthwise_conv2d_s8_3x3__dsp_channel *c, __attribute__((unused)) int32_t rows)
{
    __asm__ volatile(
        "push {r4-r11, lr}\n\t"
        "ldrd r6, r7, [r2, #48]\n\t"            /* pairs, singles */
        "cmp r3, #0\n\t"
        "beq 7f\n\t"
        "ldr r4, [r2, #40]\n\t"                 /* multiplier */
        "ldr r5, [r2, #32]\n\t"                 /* next */
        "ldr r9, [r2, #56]\n\t"                 /* back */
        "add r10, r7, r6, lsl #1\n\t"
        "lsr r10, r10, #7\n\t"                  /* outputs of a row */
        "mul r10, r10, r5\n\t"
        "mla r10, r10, r3, r1\n\t"
        "add r8, r6, r7\n\t"
        "sub r7, r8, r9\n\t"
        "add r6, r0, r6\n\t"
        "add r8, r0, r8\n\t"
        "add r11, r2, #60\n\t"
        "ldm r11, {r3, r11, r12, lr}\n\t"
        "push {r3, r11, r12, lr}\n\t"
        "push {r4-r10}\n\t"
        "ldm r2, {r4-r10}\n"
        "1:\n\t"                                /* each row */
        "ldr pc, [sp, #28]\n"
        "2:\n\t" NN_PAIR_STEP NN_PAIR_STEP NN_PAIR_STEP NN_PAIR_STEP
        "ldr pc, [sp, #32]\n"
        "3:\n\t"                                /* of many pairs */
        "ldrd r2, r3, [sp, #8]\n\t"
        "cmp r0, r2\n\t"
        "bne 2b\n\t"
        "add r2, r2, r3\n\t"
        "str r2, [sp, #8]\n\t"
        "ldr pc, [sp, #36]\n"
        "4:\n\t" NN_SINGLE_STEP NN_SINGLE_STEP NN_SINGLE_STEP NN_SINGLE_STEP
        "ldr pc, [sp, #40]\n"
        "5:\n\t"                                /* of many singles */
        "ldrd r2, r3, [sp, #12]\n\t"
        "cmp r0, r3\n\t"
        "bne 4b\n\t"
        "add r3, r3, r2\n\t"
        "str r3, [sp, #16]\n"
        "6:\n\t"
        "ldrd r2, r3, [sp, #20]\n\t"
        "sub r0, r0, r2\n\t"
        "cmp r1, r3\n\t"
        "bne 1b\n\t"
        "add sp, sp, #44\n\t"
        "pop {r4-r11, pc}\n"

        "7:\n\t"                                /* the entries, in Thumb */
        "adr r8, 6b\n\t"
        "orr r8, r8, #1\n\t"
        "mov r4, r8\n\t"                        /* of the singles */
        "mov r5, r8\n\t"                        /* after four of them */
        "cbz r7, 8f\n\t"
        "sub r9, r7, #128\n\t"
        "and r9, r9, #384\n\t"
        "add r9, r9, #128\n\t"
        "lsr r9, r9, #4\n\t"
        "rsb r9, r9, r9, lsl #3\n\t"            /* 56 bytes of code for 128 of singles */
        "adr r4, 4b\n\t"
        "add r4, r4, #4*56+1\n\t"
        "sub r4, r4, r9\n\t"
        "cmp r7, #512\n\t"
        "bls 8f\n\t"
        "adr r5, 5b\n\t"
        "orr r5, r5, #1\n"
        "8:\n\t"
        "mov r8, r4\n\t"                        /* of the pairs */
        "mov r9, r4\n\t"                        /* after four of them */
        "cbz r6, 9f\n\t"
        "sub r10, r6, #128\n\t"
        "and r10, r10, #384\n\t"
        "add r10, r10, #128\n\t"
        "mov r11, #23\n\t"
        "mul r10, r10, r11\n\t"                 /* 92 bytes of code for 128 of pairs */
        "adr r8, 2b\n\t"
        "add r8, r8, #4*92+1\n\t"
        "sub r8, r8, r10, lsr #5\n\t"
        "cmp r6, #512\n\t"
        "bls 9f\n\t"
        "adr r9, 3b\n\t"
        "orr r9, r9, #1\n"
        "9:\n\t"
        "strd r8, r9, [r2, #60]\n\t"
        "strd r4, r5, [r2, #68]\n\t"
        "pop {r4-r11, pc}");
}

#undef NN_COLUMN
#undef NN_NEXT_COLUMN
#undef NN_PAIR_STEP
#undef NN_SINGLE_STEP

#else

/* The output of the window whose left column is the half `at` of the words at x. */
static inline int8_t depthwise_conv2d_s8_3x3__dsp_output(
    const uint32_t *x, int32_t at, const depthwise_conv2d_s8_3x3__dsp_channel *c)
{
    int32_t sum = c->row.start;

    for (int32_t i = 0; i < 3; i++)
        for (int32_t k = 0; k < 3; k++) {
            const int32_t column = at + k;
            const int32_t weight = nn_half(c->weights[2 * i + (k == 2)], k > 0);
            sum += nn_half(x[i + 32 * (column / 2)], column % 2) * weight;
        }
    if (c->row.right == 0)
        sum = (int32_t)(((int64_t)sum * c->row.multiplier + ((int64_t)1 << 31)) >> 32) >> DEPTHWISE_3X3_SHIFT;
    else
        sum = nn_short_requantize(sum, c->row.multiplier, c->row.addend, c->row.right);
    return (int8_t)nn_clamp(sum, -128, 127);
}

/* `rows` rows of outputs of one channel; x is at its first word in the first cell. */
static inline void depthwise_conv2d_s8_3x3__dsp_rows(
    const uint32_t *x, int8_t *y, const depthwise_conv2d_s8_3x3__dsp_channel *c, int32_t rows)
{
    const int32_t pairs = c->row.pairs / 128, cells = pairs + c->row.singles / 128;

    for (; rows > 0; rows--, x -= c->row.back / 4)
        for (int32_t cell = 0; cell < cells; cell++, x += 32)
            for (int32_t at = 0; at < 1 + (cell < pairs); at++, y += c->row.next)
                *y = depthwise_conv2d_s8_3x3__dsp_output(x, at, c);
}

static inline void depthwise_conv2d_s8_3x3__dsp_proven_rows(
    const uint32_t *x, int8_t *y, const depthwise_conv2d_s8_3x3__dsp_channel *c, int32_t rows)
{
    depthwise_conv2d_s8_3x3__dsp_rows(x, y, c, rows);
}

#endif

/* What is output channel o's alone. */
static inline void depthwise_conv2d_s8_3x3__dsp_load(
    depthwise_conv2d_s8_3x3__dsp_channel *c, const nn_weights *n, int32_t o, int32_t y_c)
{
    const int8_t *w = n->w + o;
    const int32_t factor = n->shift[o] ? 2 : DEPTHWISE_3X3_FACTOR;

    for (int32_t i = 0; i < 6; i += 2, w += 3 * y_c) {
        const int32_t w0 = w[0], w1 = w[y_c], w2 = w[2 * y_c];
        c->weights[i] = nn_pair(factor * w0, factor * w1);
        c->weights[i + 1] = nn_pair(factor * w1, factor * w2);
    }
    nn_cells_row_of_channel(&c->row, n, o, n->bias[o]);
}

/* The four channels that x, y and `channel` are at the first of; rows of `count` cells. */
static inline void depthwise_conv2d_s8_3x3__dsp_four(
    const depthwise_conv2d_s8_3x3__dsp_params *p, depthwise_conv2d_s8_3x3__dsp_channel *channel, const nn_cells_columns *columns,
    int32_t count, const int8_t *x, int8_t *y, uint32_t *cells)
{
    const nn_window *g = &p->window;
    const int32_t at_once = g->stride_h == 1 ? 6 : 3;

    /* Each time six rows further: the last two rows of before are now the first. */
    for (int32_t row = 0, first = 0; row < g->y_h; row += at_once, first = 2) {
        const int32_t rows = nn_min(at_once, g->y_h - row), end = row + rows < g->y_h ? 8 : (rows - 1) * g->stride_h + 3;
        if (first)
            nn_cells_keep(cells, count, 2);
        nn_cells_fill_rows(cells, columns, first, end, g, x, row * g->stride_h - g->pad_top + first);
        for (int32_t i = 0; i < 4; i++)
            if (channel[i].row.right)
                depthwise_conv2d_s8_3x3__dsp_rows(cells + 8 * i, y + i, channel + i, rows);
            else
                depthwise_conv2d_s8_3x3__dsp_proven_rows(cells + 8 * i, y + i, channel + i, rows);
        nn_cells_clamp(&p->weights, y, rows * g->y_w, g->y_c);
        y += rows * g->y_w * g->y_c;
    }
}

static inline void depthwise_conv2d_s8_3x3__dsp(
    const depthwise_conv2d_s8_3x3__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    const nn_window *g = &p->window;
    depthwise_conv2d_s8_3x3__dsp_channel channel[4];

    nn_cells_row_of_window(&channel[0].row, g);
    depthwise_conv2d_s8_3x3__dsp_proven_rows(NULL, NULL, channel, 0);
    for (int32_t i = 1; i < 4; i++)
        channel[i] = channel[0];
    const int32_t count = (channel->row.pairs + channel->row.singles) / 128 + 1;
    const nn_cells_columns columns = nn_cells_start((uint32_t *)scratch, count, g, p->weights.x_zero);
    for (int32_t o = 0; o < g->y_c; o += 4) {
        const int32_t first = nn_min(o, g->y_c - 4);
        for (int32_t i = 0; i < 4; i++)
            depthwise_conv2d_s8_3x3__dsp_load(channel + i, &p->weights, first + i, g->y_c);
        depthwise_conv2d_s8_3x3__dsp_four(
            p, channel, &columns, count, x + first, y + first, (uint32_t *)scratch);
    }
}

#endif
