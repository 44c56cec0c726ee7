/* Convolution of any window, stride, dilation and padding without groups, two pixels at a time. The rows that the windows lie in
 * are copied with their padding, and what two windows hold is laid out as columns. y may lie over x, as far before it as rows are
 * written before they are read. */
#ifndef NN_IM2COL_H
#define NN_IM2COL_H

#include "pixel_pair.h"
#include "window.h"

typedef struct {
    nn_window window;
    int32_t x_zero;                     /* what padding holds */
    int32_t rows, row_bytes;            /* that the scratch has, as many as two neighbouring windows lie in */
    int32_t rest;                       /* values of a window that its runs have beyond their fours, filled up to fours */
    nn_pixel_pair pair;                 /* the fours of all runs, then the rests */
} nn_im2col_params;

/* Where the scratch has what. */
typedef struct {
    int16_t *columns;
    int8_t *rests;
    int8_t *rows;
    int32_t loaded;                     /* rows so far, those of padding among them */
} nn_im2col_scratch;

static inline void nn_im2col_fill(int8_t *to, int32_t value, int32_t count)
{
    const uint32_t four = (uint8_t)value * UINT32_C(0x01010101);

    for (; count >= 4; count -= 4, to += 4)
        __builtin_memcpy(to, &four, 4);
    while (count-- > 0)
        *to++ = (int8_t)value;
}

static inline void nn_im2col_copy(int8_t *to, const int8_t *from, int32_t count)
{
    for (; count >= 16; count -= 16, to += 16, from += 16) {
        uint32_t a, b, c, d;
        __builtin_memcpy(&a, from, 4);
        __builtin_memcpy(&b, from + 4, 4);
        __builtin_memcpy(&c, from + 8, 4);
        __builtin_memcpy(&d, from + 12, 4);
        __builtin_memcpy(to, &a, 4);
        __builtin_memcpy(to + 4, &b, 4);
        __builtin_memcpy(to + 8, &c, 4);
        __builtin_memcpy(to + 12, &d, 4);
    }
    while (count-- > 0)
        *to++ = *from++;
}

/* Row by row up to `end`, the first of them that is read by a window being 0. */
NN_INLINE void nn_im2col_load(
    const nn_im2col_params *p, nn_im2col_scratch *s, const int8_t *x, int32_t end)
{
    const nn_window *const g = &p->window;
    const int32_t left = nn_min(g->pad_left * g->x_c, p->row_bytes);
    const int32_t values = nn_min(g->x_w * g->x_c, p->row_bytes - left);

    for (; s->loaded < end; s->loaded++) {
        int8_t *const to = s->rows + s->loaded % p->rows * p->row_bytes;
        const int32_t row = s->loaded - g->pad_top;
        if (row < 0 || row >= g->x_h) {
            nn_im2col_fill(to, p->x_zero, p->row_bytes);
            continue;
        }
        nn_im2col_copy(to + left, x + row * g->x_w * g->x_c, values);
    }
}

/* The columns of two windows, that start in these slots of the rows and so many bytes into them. */
NN_INLINE void nn_im2col_columns(
    const nn_im2col_params *p, const nn_im2col_scratch *s, const int32_t slot[2], const int32_t at[2])
{
    const int32_t dense = p->window.dilation_w == 1, runs = dense ? 1 : p->window.k_w;
    const int32_t run = (dense ? p->window.k_w : 1) * p->window.x_c, next = p->window.dilation_w * p->window.x_c;
    const int32_t fours = run / 4, rest = run % 4, down = p->window.dilation_h * p->row_bytes, all = p->rows * p->row_bytes;
    const int8_t *const end = s->rows + all;
    const int8_t *first_row = s->rows + slot[0] * p->row_bytes + at[0];
    const int8_t *second_row = s->rows + slot[1] * p->row_bytes + at[1];
    int8_t *rests = s->rests;
    int16_t *columns = s->columns;

    for (int32_t k = p->window.k_h; k > 0; k--) {
        const int8_t *first = first_row, *second = second_row;
        for (int32_t i = runs; i > 0; i--, first += next, second += next) {
            columns = nn_pixel_pair_widen_fours(columns, first, second, fours);
            for (int32_t j = 4 * fours; j < run; j++) {
                rests[0] = first[j];
                rests[p->rest] = second[j];
                rests++;
            }
        }
        first_row += down;
        second_row += down;
        first_row -= first_row >= end ? all : 0;
        second_row -= second_row >= end ? all : 0;
    }
    if (rest)
        nn_pixel_pair_widen_fours(columns, s->rests, s->rests + p->rest, p->rest / 4);
}

/* scratch: columns, the rests of two windows, rows. */
NN_INLINE void nn_im2col(
    const nn_im2col_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    const nn_im2col_params n = *p; /* a copy, which nothing that is written overlaps: it stays in registers */
    const nn_window *const g = &n.window;
    const int32_t y_c = n.pair.y_c, pixels = g->y_h * g->y_w;
    const int32_t span = (g->k_h - 1) * g->dilation_h + 1, step = g->stride_w * g->x_c;
    int8_t *const rests = (int8_t *)scratch + 16 * n.pair.fours;
    nn_im2col_scratch s = { (int16_t *)scratch, rests, rests + 2 * n.rest, 0 };
    int32_t row[2] = { 0, 0 }, at[2] = { 0, 0 };

    nn_im2col_fill(s.rows, n.x_zero, n.rows * n.row_bytes);
    for (int32_t pixel = 0, column = 0; pixel < pixels; pixel += 2) {
        const int32_t next = pixel + 1 < pixels; /* an odd number of pixels ends with the last one twice */
        row[1] = row[0];
        at[1] = at[0];
        if (next && ++column < g->y_w)
            at[1] += step;
        else if (next) {
            column = 0;
            row[1] += g->stride_h;
            at[1] = 0;
        }
        nn_im2col_load(&n, &s, x, row[1] + span);
        const int32_t slot[2] = { row[0] % n.rows, row[1] % n.rows };
        nn_im2col_columns(&n, &s, slot, at);
        nn_pixel_pair_outputs(&n.pair, s.columns, y + pixel * y_c, y + (pixel + next) * y_c);
        row[0] = row[1];
        at[0] = at[1] + step;
        if (++column == g->y_w) {
            column = 0;
            row[0] += g->stride_h;
            at[0] = 0;
        }
    }
    nn_pixel_pair_clamp(&n.pair, y, pixels);
}

#endif
