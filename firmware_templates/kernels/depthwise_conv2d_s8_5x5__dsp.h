/* Depthwise convolution with windows up to five by five, int8, NHWC, depth multiplier one, strides one and two, any padding, for
 * cores with the DSP extension. Four channels at a time, eight rows of the padded image are laid out by channels; then each
 * channel goes over them two outputs a step, with its weights a row at a time in four registers. There are four channels or more;
 * where the last are not four, they are taken together with those before them. The scratch is an array of cells (cells.h). */
#ifndef NN_DEPTHWISE_CONV2D_S8_5X5__DSP_H
#define NN_DEPTHWISE_CONV2D_S8_5X5__DSP_H

#include "cells.h"

typedef struct {
    nn_window window;
    nn_weights weights;
} depthwise_conv2d_s8_5x5__dsp_params;

/* A channel, and the way of its window. The assembly below knows the order. */
typedef struct {
    uint32_t weights[20];               /* of each row (w0, w1), (w2, w3), (w1, w2) and (w3, w4), twice their values */
    nn_cells_row row;
    int32_t up;                         /* bytes from below the window's last row to the first of the next cell */
} depthwise_conv2d_s8_5x5__dsp_channel;

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__thumb2__) && defined(__GNUC__)

/* A row of weights, and of three columns of pairs. */
#define NN_ROW \
    "ldm r8!, {r4-r7}\n\t" \
    "ldr r2, [r0], #4\n\t" \
    "ldr r3, [r0, #124]\n\t" \
    "ldr r12, [r0, #252]\n\t"

/* `rows` rows of outputs of one channel; x is at its first word in the first cell.
 * r0: x, r1: y, r2, r3, r12: three words of x, then the constants, r4 to r7: a row of weights, r8: the next one, r9: their end,
 * r10: start, r11, lr: two sums. [sp]: right, next, end, [sp + 12]: multiplier, addend, [sp + 20]: pairs, singles, back, up,
 * [sp + 36]: the first weights, [sp + 40]: rows. */
NN_NAKED static void depthwise_conv2d_s8_5x5__dsp_rows(
    __attribute__((unused)) const uint32_t *x, __attribute__((unused)) int8_t *y,
    __attribute__((unused)) const depthwise_conv2d_s8_5x5__dsp_channel *c, __attribute__((unused)) int32_t rows)
{
    __asm__ volatile(
        "push {r2-r11, lr}\n\t"
        "add r12, r2, #84\n\t"
        "ldm r12, {r3-r11}\n\t"
        "push {r3-r11}\n\t"
        "ldr r10, [r2, #80]\n\t"
        "add r9, r2, #512\n\t" /* up is 128 less 4 for each row, which has 16 bytes of weights */
        "sub r9, r9, r11, lsl #2\n"
        "1:\n\t"
        "ldr r2, [sp, #20]\n\t"
        "add lr, r0, r2\n\t"
        "str lr, [sp, #8]\n\t"
        "cmp r0, lr\n\t"
        "beq 4f\n"
        "2:\n\t"
        "ldr r8, [sp, #36]\n\t"
        "mov r11, r10\n\t"
        "mov lr, r10\n"
        "3:\n\t" NN_ROW
        "smlad r11, r2, r4, r11\n\t"
        "smlatb lr, r2, r4, lr\n\t"
        "smlad r11, r3, r5, r11\n\t"
        "smlad lr, r3, r6, lr\n\t"
        "smlabt r11, r12, r7, r11\n\t"
        "smlad lr, r12, r7, lr\n\t"
        "cmp r8, r9\n\t"
        "bne 3b\n\t"
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
        "ldr r2, [sp, #32]\n\t"
        "add r0, r0, r2\n\t"
        "cmp r0, lr\n\t"
        "bne 2b\n"
        "4:\n\t"
        "ldr r2, [sp, #24]\n\t"
        "add lr, r0, r2\n\t"
        "str lr, [sp, #8]\n\t"
        "cmp r0, lr\n\t"
        "beq 7f\n"
        "5:\n\t"
        "ldr r8, [sp, #36]\n\t"
        "mov r11, r10\n"
        "6:\n\t" NN_ROW
        "smlad r11, r2, r4, r11\n\t"
        "smlad r11, r3, r5, r11\n\t"
        "smlabt r11, r12, r7, r11\n\t"
        "cmp r8, r9\n\t"
        "bne 6b\n\t"
        "ldrd r2, r3, [sp, #12]\n\t"
        "smmlar r12, r11, r2, r3\n\t"
        "add r12, r12, r11, asr #31\n\t"
        "ldm sp, {r2, r3, lr}\n\t"
        "asr r12, r12, r2\n\t"
        "ssat r12, #8, r12\n\t"
        "strb r12, [r1]\n\t"
        "add r1, r1, r3\n\t"
        "ldr r2, [sp, #32]\n\t"
        "add r0, r0, r2\n\t"
        "cmp r0, lr\n\t"
        "bne 5b\n"
        "7:\n\t"
        "ldr r2, [sp, #28]\n\t"
        "ldr r3, [sp, #40]\n\t"
        "sub r0, r0, r2\n\t"
        "subs r3, r3, #1\n\t"
        "str r3, [sp, #40]\n\t"
        "bne 1b\n\t"
        "add sp, sp, #44\n\t"
        "pop {r4-r11, pc}");
}

#undef NN_ROW

#else

/* The output of the window whose left column is the half `at` of the words at x. */
static inline int8_t depthwise_conv2d_s8_5x5__dsp_output(
    const uint32_t *x, int32_t at, const depthwise_conv2d_s8_5x5__dsp_channel *c)
{
    const int32_t height = (128 - c->up) / 4;
    int32_t twice = c->row.start;

    for (int32_t i = 0; i < height; i++)
        for (int32_t k = 0; k < 5; k++) {
            const int32_t column = at + k;
            const int32_t weight = k < 4 ? nn_half(c->weights[4 * i + k / 2], k % 2) : nn_half(c->weights[4 * i + 3], 1);
            twice += nn_half(x[i + 32 * (column / 2)], column % 2) * weight;
        }
    return (int8_t)nn_clamp(nn_short_requantize(twice, c->row.multiplier, c->row.addend, c->row.right), -128, 127);
}

/* `rows` rows of outputs of one channel; x is at its first word in the first cell. */
static inline void depthwise_conv2d_s8_5x5__dsp_rows(
    const uint32_t *x, int8_t *y, const depthwise_conv2d_s8_5x5__dsp_channel *c, int32_t rows)
{
    const int32_t pairs = c->row.pairs / 128, cells = pairs + c->row.singles / 128;

    for (; rows > 0; rows--, x -= c->row.back / 4)
        for (int32_t cell = 0; cell < cells; cell++, x += 32)
            for (int32_t at = 0; at < 1 + (cell < pairs); at++, y += c->row.next)
                *y = depthwise_conv2d_s8_5x5__dsp_output(x, at, c);
}

#endif

/* What is output channel o's alone. */
static inline void depthwise_conv2d_s8_5x5__dsp_load(
    depthwise_conv2d_s8_5x5__dsp_channel *c, const nn_weights *n, int32_t o, const nn_window *g)
{
    const int8_t *weight = n->w + o;
    int32_t twice = 0;

    for (int32_t i = 0; i < g->k_h; i++) {
        int32_t w[5] = { 0, 0, 0, 0, 0 };
        for (int32_t k = 0; k < g->k_w; k++, weight += g->y_c) {
            w[k] = 2 * *weight;
            twice += w[k];
        }
        c->weights[4 * i] = nn_pair(w[0], w[1]);
        c->weights[4 * i + 1] = nn_pair(w[2], w[3]);
        c->weights[4 * i + 2] = nn_pair(w[1], w[2]);
        c->weights[4 * i + 3] = nn_pair(w[3], w[4]);
    }
    nn_cells_row_of_channel(&c->row, n, o, 2 * nn_bias(n, o) - n->x_zero * twice);
}

/* The four channels that x, y and `channel` are at the first of; rows of `count` cells. */
static inline void depthwise_conv2d_s8_5x5__dsp_four(
    const depthwise_conv2d_s8_5x5__dsp_params *p, const depthwise_conv2d_s8_5x5__dsp_channel *channel, const nn_cells_columns *columns,
    int32_t count, const int8_t *x, int8_t *y, uint32_t *cells)
{
    const nn_window *g = &p->window;
    /* As many rows of outputs as eight rows give; what is read for them and for the next ones stays. */
    const int32_t at_once = (8 - g->k_h) / g->stride_h + 1, further = at_once * g->stride_h, kept = 8 - further;

    for (int32_t row = 0, first = 0; row < g->y_h; row += at_once, first = kept) {
        const int32_t rows = nn_min(at_once, g->y_h - row);
        const int32_t end = row + rows < g->y_h ? 8 : (rows - 1) * g->stride_h + g->k_h;
        if (first)
            nn_cells_keep(cells, count, kept);
        nn_cells_fill_rows(cells, columns, first, end, g, x, row * g->stride_h - g->pad_top + first);
        for (int32_t i = 0; i < 4; i++)
            depthwise_conv2d_s8_5x5__dsp_rows(cells + 8 * i, y + i, channel + i, rows);
        nn_cells_clamp(&p->weights, y, rows * g->y_w, g->y_c);
        y += rows * g->y_w * g->y_c;
    }
}

static inline void depthwise_conv2d_s8_5x5__dsp(
    const depthwise_conv2d_s8_5x5__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    const nn_window *g = &p->window;
    depthwise_conv2d_s8_5x5__dsp_channel channel[4];

    for (int32_t i = 0; i < 4; i++) {
        nn_cells_row_of_window(&channel[i].row, g);
        channel[i].up = 128 - 4 * g->k_h;
    }
    const int32_t count = (channel->row.pairs + channel->row.singles) / 128 + 2;
    const nn_cells_columns columns = nn_cells_start((uint32_t *)scratch, count, g, p->weights.x_zero);
    for (int32_t o = 0; o < g->y_c; o += 4) {
        const int32_t first = nn_min(o, g->y_c - 4);
        for (int32_t i = 0; i < 4; i++)
            depthwise_conv2d_s8_5x5__dsp_load(channel + i, &p->weights, first + i, g);
        depthwise_conv2d_s8_5x5__dsp_four(
            p, channel, &columns, count, x + first, y + first, (uint32_t *)scratch);
    }
}

#endif
