/* 3x3 convolutions of stride one by Winograd's algorithm, exactly, in integers: a square of outputs costs as many products as
 * it reads values, not nine each. For cores with the DSP extension; pipeline/ops/_winograd.py writes the stream.
 *
 * The values that a tile reads are transformed into as many numbers V, one a position; so are the weights, on the host, into U.
 * At each position the products of U and V are summed over the input channels; the sums M are transformed into the outputs.
 * All is computed modulo 2^32; the last result, a fixed multiple of the convolution's sum, fits.
 *
 * Lines:    the rows that one row of tiles reads, four channels of a value in a word; those above each other are neighbours:
 *           [column][four of channels][row].
 * V:        two tiles of neighbouring columns, channels k0 to k3 as pairs of 16 bits, the former in the lower half:
 *           [position][four][k0 k2 of the first tile, of the second, k1 k3 of the first, of the second].
 * M:        [position][first tile: o0, o1, second tile: o0, o1].
 * stream:   for each two output channels
 *           for each position: start of o0, start of o1, for each four: k0 k2 of o0, of o1, k1 k3 of o0, of o1;
 *           for both channels: start, multiplier, addend, 0; or start, TFLM's multiplier, rounding constant with zero point,
 *           shift. */
#ifndef NN_WINOGRAD_H
#define NN_WINOGRAD_H

#include "pair.h"
#include "window.h"

typedef struct {
    nn_window window;
    int32_t x_zero;                     /* what padding holds */
    int32_t fours;                      /* of input channels, the last one filled up with weights of 0 */
    int32_t clamp_min, clamp_max;
    const int32_t *stream;
} nn_winograd;

/* `side`: outputs in a row or column of a tile. `flip`: what values are exclusively ored with when they are read.
 * transform: V of four channels of a tile, from its first column in the lines; steps in bytes.
 * outputs: of one tile and channel, from its first sum and its constants. */
typedef struct {
    int32_t side;
    uint32_t flip;
    void (*transform)(const uint32_t *lines, int32_t column_step, uint32_t *v, int32_t position_step);
    void (*outputs)(const int32_t *sums, const int32_t *constants, int8_t *y, int32_t row_step, int32_t column_step);
} nn_winograd_tile;

#define NN_WINOGRAD_CONSTANTS 4         /* words of a channel in the stream after the weights */

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__) && !defined(__clang__)

/* Four channels of two tiles (r8 to r11) with their weights of two output channels (r4 to r7). */
#define NN_WINOGRAD_FOUR                                        \
    "ldmia  r12!, {r4-r7}\n\t"                                  \
    "ldmia  lr!, {r8-r11}\n\t"                                  \
    "smlad  r0, r4, r8, r0\n\t"                                 \
    "smlad  r1, r5, r8, r1\n\t"                                 \
    "smlad  r2, r4, r9, r2\n\t"                                 \
    "smlad  r3, r5, r9, r3\n\t"                                 \
    "smlad  r0, r6, r10, r0\n\t"                                \
    "smlad  r1, r7, r10, r1\n\t"                                \
    "smlad  r2, r6, r11, r2\n\t"                                \
    "smlad  r3, r7, r11, r3\n\t"

/* M of two output channels.
 *
 * r0 to r3: sums; r4 to r7: weights, r8 to r11: values; r12: stream, lr: V.
 * sp: end of the position in V, place in M, bytes of a position in V, end of V, where the loop is entered and left.
 *
 * The loop takes eight fours of channels a round; the first round starts inside it with what the others leave. */
NN_NAKED static void nn_winograd_products(
    const int32_t *stream __attribute__((unused)), const uint32_t *v __attribute__((unused)),
    int32_t *sums __attribute__((unused)), int32_t fours __attribute__((unused)), int32_t positions __attribute__((unused)))
{
    __asm__("push   {r4-r11, lr}\n\t"
            "ldr    r4, [sp, #36]\n\t"
            "mov    r12, r0\n\t"
            "mov    lr, r1\n\t"
            "mov    r5, r2\n\t"
            "lsl    r6, r3, #4\n\t"
            "mla    r7, r6, r4, r1\n\t"
            "add    r4, r1, r6\n\t"
            "sub    r3, r3, #1\n\t"
            "and    r3, r3, #7\n\t"
            "add    r3, r3, #1\n\t"
            "add    r3, r3, r3, lsl #2\n\t"     /* 40 bytes of code a four */
            "adr    r8, 3f\n\t"
            "sub    r8, r8, r3, lsl #3\n\t"
            "orr    r8, r8, #1\n\t"             /* Thumb */
            "adr    r9, 4f\n\t"
            "cmp    r6, #8*16\n\t"
            "bls    0f\n\t"
            "adr    r9, 5f\n"
            "0:\n\t"
            "orr    r9, r9, #1\n\t"
            "push   {r4-r9}\n"

            "1:\n\t"                            /* each position */
            "ldrd   r0, r1, [r12], #8\n\t"
            "mov    r2, r0\n\t"
            "mov    r3, r1\n\t"
            "ldr    pc, [sp, #16]\n"
            "2:\n\t"
            NN_WINOGRAD_FOUR NN_WINOGRAD_FOUR NN_WINOGRAD_FOUR NN_WINOGRAD_FOUR
            NN_WINOGRAD_FOUR NN_WINOGRAD_FOUR NN_WINOGRAD_FOUR NN_WINOGRAD_FOUR
            "3:\n\t"
            "ldr    pc, [sp, #20]\n"
            "4:\n\t"
            "ldr    r5, [sp, #4]\n\t"
            "stmia  r5!, {r0-r3}\n\t"
            "str    r5, [sp, #4]\n\t"
            "ldr    r7, [sp, #12]\n\t"
            "cmp    lr, r7\n\t"
            "bne    1b\n\t"
            "add    sp, sp, #24\n\t"
            "pop    {r4-r11, pc}\n"
            "5:\n\t"                            /* of more than eight fours */
            "ldr    r4, [sp]\n\t"
            "cmp    lr, r4\n\t"
            "bne    2b\n\t"
            "ldr    r6, [sp, #8]\n\t"
            "add    r4, r4, r6\n\t"
            "str    r4, [sp]\n\t"
            "b      4b");
}

#else

static inline void nn_winograd_products(
    const int32_t *stream, const uint32_t *v, int32_t *sums, int32_t fours, int32_t positions)
{
    for (int32_t position = 0; position < positions; position++, sums += 4, v += 4 * fours, stream += 2 + 4 * fours)
        for (int32_t i = 0; i < 4; i++) {
            const int32_t channel = i & 1, tile = i >> 1;
            uint32_t sum = (uint32_t)stream[channel];
            for (int32_t k = 0; k < 4 * fours; k++) {
                const int32_t half = k >> 1 & 1, word = 4 * (k / 4) + 2 * (k & 1);
                const int32_t weight = nn_half((uint32_t)stream[2 + word + channel], half);
                sum += (uint32_t)(weight * nn_half(v[word + tile], half));
            }
            sums[i] = (int32_t)sum;
        }
}

/* An output, not saturated, from 2^scale times its channel's sum; `shift` is that of proven constants. */
static inline int32_t nn_winograd_rescaled(uint32_t scaled, const int32_t *constants, int32_t scale, int32_t shift)
{
    const int32_t whole = (int32_t)(scaled + (uint32_t)constants[0]), formula = constants[3];
    const int32_t twice = whole >> (scale - 1), v = formula ? twice : whole;
    const int32_t high = (int32_t)(((int64_t)v * constants[1] + ((int64_t)1 << 31)) >> 32) + constants[2];

    return formula ? (high - (v < 0)) >> formula : high >> shift;
}

#endif

/* A row of the image, or padding where it lies outside, to its place in every column of the lines. */
static inline void nn_winograd_row(
    const nn_winograd *p, const nn_winograd_tile *t, const int8_t *x, int32_t row, uint32_t *place)
{
    const nn_window *const g = &p->window;
    const int32_t step = t->side + 2, words = g->x_c / 4, rest = g->x_c % 4;

    if (row < 0 || row >= g->x_h) {
        const uint32_t padding = (uint8_t)p->x_zero * UINT32_C(0x01010101) ^ t->flip;
        for (int32_t i = 0; i < g->x_w * p->fours; i++, place += step)
            *place = padding;
        return;
    }
    x += row * g->x_w * g->x_c;
    for (int32_t run = rest ? words : words * g->x_w, runs = rest ? g->x_w : 1; runs > 0; runs--) {
        for (int32_t i = 0; i < run; i++, place += step, x += 4) {
            uint32_t four;
            __builtin_memcpy(&four, x, 4);
            *place = four ^ t->flip;
        }
        if (rest) {
            uint32_t four = 0;
            for (int32_t i = 0; i < rest; i++)
                four |= (uint32_t)(uint8_t)*x++ << 8 * i;
            *place = four ^ t->flip;
            place += step;
        }
    }
}

/* The lines for the row of tiles whose outputs start at row `y_row`. Two of them were already read by the tiles above. */
static inline void nn_winograd_lines(
    const nn_winograd *p, const nn_winograd_tile *t, const int8_t *x, int32_t y_row, uint32_t *lines, int32_t columns)
{
    const nn_window *const g = &p->window;
    const int32_t step = t->side + 2, kept = y_row ? 2 : 0;
    uint32_t *const image = lines + g->pad_left * p->fours * step;

    if (kept)
        for (uint32_t *place = lines; place < lines + columns * p->fours * step; place += step) {
            place[0] = place[step - 2];
            place[1] = place[step - 1];
        }
    else
        for (int32_t i = 0; i < columns * p->fours * step; i++)
            lines[i] = (uint8_t)p->x_zero * UINT32_C(0x01010101) ^ t->flip;
    for (int32_t i = kept; i < step; i++)
        nn_winograd_row(p, t, x, y_row - g->pad_top + i, image + i);
}

/* One channel's outputs of a tile that goes beyond the image. */
static inline void nn_winograd_part(
    const nn_window *g, const nn_winograd_tile *t, const int32_t *sums, const int32_t *constants, int8_t *y, int32_t rows,
    int32_t columns)
{
    int8_t part[16];

    t->outputs(sums, constants, part, t->side, 1);
    for (int32_t row = 0; row < nn_min(rows, t->side); row++)
        for (int32_t column = 0; column < nn_min(columns, t->side); column++)
            y[(row * g->y_w + column) * g->y_c] = part[row * t->side + column];
}

/* A layer. y may lie over x, as far before it as rows are written before they are read. scratch: lines, V, M. */
static inline void nn_winograd_layer(
    const nn_winograd *p, const nn_winograd_tile *t, const int8_t *x, int8_t *y, void *scratch)
{
    const nn_window *const g = &p->window;
    const int32_t y_h = g->y_h, y_w = g->y_w, y_c = g->y_c;
    const int32_t side = t->side, positions = (side + 2) * (side + 2), column_words = p->fours * (side + 2);
    const int32_t tiles = (y_w + side - 1) / side, columns = tiles * side + 2;
    const int32_t products = positions * (2 + 4 * p->fours);
    uint32_t *const lines = (uint32_t *)scratch, *const v = lines + columns * column_words;
    int32_t *const sums = (int32_t *)scratch + columns * column_words + positions * 4 * p->fours;

    for (int32_t y_row = 0; y_row < y_h; y_row += side) {
        nn_winograd_lines(p, t, x, y_row, lines, columns);
        for (int32_t tile = 0; tile < tiles; tile += 2) {
            const int32_t count = nn_min(2, tiles - tile);
            const int32_t *stream = p->stream;
            for (int32_t i = 0; i < count; i++)
                for (int32_t k = 0; k < p->fours; k++)
                    t->transform(
                        lines + (tile + i) * side * column_words + k * (side + 2), 4 * column_words, v + 4 * k + i,
                        16 * p->fours);
            for (int32_t o = 0; o < y_c; o += 2, stream += products + 2 * NN_WINOGRAD_CONSTANTS) {
                nn_winograd_products(stream, v, sums, p->fours, positions);
                for (int32_t i = 0; i < count; i++) {
                    const int32_t y_col = (tile + i) * side, whole = y_row + side <= y_h && y_col + side <= y_w;
                    const int32_t *sum = sums + 2 * i, *constants = stream + products;
                    int8_t *to = y + (y_row * y_w + y_col) * y_c + o;
                    for (int32_t c = nn_min(2, y_c - o); c > 0; c--, sum++, to++, constants += NN_WINOGRAD_CONSTANTS)
                        if (whole)
                            t->outputs(sum, constants, to, y_w * y_c, y_c);
                        else
                            nn_winograd_part(g, t, sum, constants, to, y_h - y_row, y_w - y_col);
                }
            }
        }
    }
    nn_clamp_values(y, y_h * y_w * y_c, p->clamp_min, p->clamp_max);
}

#endif
