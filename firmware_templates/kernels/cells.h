/* Rows of an image laid out by channels, for depthwise convolutions on cores with the DSP extension: an array of cells, one for
 * each two neighbouring columns. A cell has 32 words, eight rows of each of four channels; a word is a pair of pixels, the left
 * one in its lower half. */
#ifndef NN_CELLS_H
#define NN_CELLS_H

#include "pair.h"
#include "requant__dsp.h"
#include "weights.h"
#include "window.h"

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_UNALIGNED) && defined(__GNUC__)

/* Four channels of two pixels, taken apart and put together by channel. */
static inline void nn_cells_put(uint32_t *pair, const int8_t *left, const int8_t *right)
{
    uint32_t a, b, a_even, b_even, word[4];

    __builtin_memcpy(&a, left, 4);
    __builtin_memcpy(&b, right, 4);
    __asm__("sxtb16 %0, %1" : "=r"(a_even) : "r"(a));
    __asm__("sxtb16 %0, %1" : "=r"(b_even) : "r"(b));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(a) : "r"(a));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(b) : "r"(b));
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(word[0]) : "r"(a_even), "r"(b_even));
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(word[1]) : "r"(a), "r"(b));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(word[2]) : "r"(b_even), "r"(a_even));
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(word[3]) : "r"(b), "r"(a));
    pair[0] = word[0];
    pair[8] = word[1];
    pair[16] = word[2];
    pair[24] = word[3];
}

#else

/* Four channels of two pixels, put together by channel. */
static inline void nn_cells_put(uint32_t *pair, const int8_t *left, const int8_t *right)
{
    for (int32_t i = 0; i < 4; i++)
        pair[8 * i] = nn_pair(left[i], right[i]);
}

#endif

/* How a row of one channel's outputs comes from the cells. The kernels' assembly knows the order. */
typedef struct {
    int32_t start;                      /* of twice the sum: bias, less what the input's zero point adds to it */
    int32_t right;                      /* shift */
    int32_t next;                       /* from one output pixel to the next */
    int32_t end;                        /* of a run of cells: the assembly's */
    int32_t multiplier, addend;
    int32_t pairs, singles;             /* bytes of the cells that give two outputs, of those that give one */
    int32_t back;                       /* bytes from the end of a row of cells to the start of the next */
} nn_cells_row;

/* What is the same for all channels. */
static inline void nn_cells_row_of_window(nn_cells_row *row, const nn_window *g)
{
    const int32_t pairs = g->stride_w == 1 ? g->y_w / 2 : 0, singles = g->y_w - 2 * pairs;

    row->next = g->y_c;
    row->end = 0;
    row->pairs = 128 * pairs;
    row->singles = 128 * singles;
    row->back = 128 * (pairs + singles) - 4 * g->stride_h;
}

/* What is output channel o's alone. */
static inline void nn_cells_row_of_channel(nn_cells_row *row, const nn_weights *n, int32_t o, int32_t start)
{
    const int32_t q = n->per_channel ? o : 0;

    row->start = start;
    row->right = -n->shift[q];
    row->multiplier = n->multiplier[q];
    row->addend = row->right ? nn_short_addend(n->y_zero, row->right) : 0;
}

/* Where the columns of the image lie in a row of cells. Those with padding alone come before and behind. */
typedef struct {
    int32_t before;                     /* cells with padding alone */
    int32_t straddles;                  /* 1: the next has padding and a column */
    int32_t whole;                      /* cells with two columns */
    int32_t last;                       /* 1: the next has a column and padding */
    int32_t x_c;
    int32_t padding;                    /* four values of it, in a word */
} nn_cells_columns;

/* Of rows of `count` cells. The cells that never hold a column get their padding here, in all eight rows. */
static inline nn_cells_columns nn_cells_start(uint32_t *cells, int32_t count, const nn_window *g, int32_t x_zero)
{
    nn_cells_columns c = { 0, 0, 0, 0, g->x_c, (int32_t)((uint8_t)x_zero * UINT32_C(0x01010101)) };
    const int32_t pad = g->pad_left;

    c.before = nn_min(pad / 2, count);
    c.straddles = pad % 2 && c.before < count;
    c.whole = nn_min((g->x_w - c.straddles) / 2, count - c.before - c.straddles);
    c.last = (g->x_w - c.straddles) % 2 && c.before + c.straddles + c.whole < count;

    const int32_t behind = c.before + c.straddles + c.whole + c.last;
    for (int32_t i = 0; i < 32 * c.before; i++)
        cells[i] = nn_pair(x_zero, x_zero);
    for (int32_t i = 32 * behind; i < 32 * count; i++)
        cells[i] = nn_pair(x_zero, x_zero);
    return c;
}

/* `rows` rows of the image, `row` bytes apart; x is at the first value of these four channels. A function of its own: inlined,
 * it has too few registers. */
#if defined(__GNUC__)
__attribute__((noinline))
#endif
static void nn_cells_fill(uint32_t *cells, const nn_cells_columns *c, const int8_t *x, int32_t rows, int32_t row)
{
    const int32_t x_c = c->x_c, straddles = c->straddles, whole = 32 * c->whole, last = c->last;

    cells += 32 * c->before;
    for (; rows > 0; rows--, x += row, cells++) {
        const int8_t *from = x;
        uint32_t *to = cells;
        if (straddles) {
            nn_cells_put(to, (const int8_t *)&c->padding, from);
            to += 32;
            from += x_c;
        }
        for (const uint32_t *const end = to + whole; to < end; to += 32, from += 2 * x_c)
            nn_cells_put(to, from, from + x_c);
        if (last)
            nn_cells_put(to, from, (const int8_t *)&c->padding);
    }
}

/* A row above or below the image. */
static inline void nn_cells_fill_padding(uint32_t *cells, const nn_cells_columns *c)
{
    const uint32_t pair = nn_pair((int8_t)c->padding, (int8_t)c->padding);

    cells += 32 * c->before;
    for (int32_t i = c->straddles + c->whole + c->last; i > 0; i--, cells += 32)
        cells[0] = cells[8] = cells[16] = cells[24] = pair;
}

/* The last `kept` of the eight rows become the first. */
static inline void nn_cells_keep(uint32_t *cells, int32_t count, int32_t kept)
{
    for (uint32_t *pair = cells, *const last = cells + 32 * count; pair < last; pair += 8)
        for (int32_t i = 0; i < kept; i++)
            pair[i] = pair[8 - kept + i];
}

/* Rows `first` to `end`; x is the image at these four channels, of which row `x_row` or padding goes into row `first`. */
static inline void nn_cells_fill_rows(
    uint32_t *cells, const nn_cells_columns *c, int32_t first, int32_t end, const nn_window *g, const int8_t *x,
    int32_t x_row)
{
    const int32_t row = g->x_w * g->x_c;
    const int32_t above = nn_clamp(-x_row, 0, end - first), below = nn_clamp(x_row + end - first - g->x_h, 0, end - first - above);
    const int32_t inside = end - first - above - below;

    for (int32_t i = first; i < first + above; i++)
        nn_cells_fill_padding(cells + i, c);
    if (inside > 0)
        nn_cells_fill(cells + first + above, c, x + (x_row + above) * row, inside, row);
    for (int32_t i = end - below; i < end; i++)
        nn_cells_fill_padding(cells + i, c);
}

/* Four channels of `count` pixels of y, where the clamp is to less than the whole range. */
static inline void nn_cells_clamp(const nn_weights *n, int8_t *y, int32_t count, int32_t next)
{
    const int32_t low = n->clamp_min, high = n->clamp_max;

    if (low == -128 && high == 127)
        return;
    for (; count > 0; count--, y += next)
        for (int32_t i = 0; i < 4; i++)
            y[i] = (int8_t)nn_clamp(y[i], low, high);
}

#endif
