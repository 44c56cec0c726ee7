/* 2-D convolution of any window, stride, dilation and padding, int8, NHWC, no groups, for cores with the DSP extension. What two
 * neighbouring windows hold is laid out as columns, row by row, and multiplied with every output channel. */
#ifndef NN_CONV2D_S8_IM2COL__DSP_H
#define NN_CONV2D_S8_IM2COL__DSP_H

#include "pixel_pair.h"
#include "window.h"

typedef struct {
    nn_window window;
    int32_t x_zero;                     /* what padding holds */
    nn_pixel_pair pair;                 /* each row of the window is filled up to fours of values */
} conv2d_s8_im2col__dsp_params;

static inline void conv2d_s8_im2col__dsp_fill(int8_t *to, int32_t value, int32_t count)
{
    const uint32_t four = (uint8_t)value * UINT32_C(0x01010101);

    for (; count >= 4; count -= 4, to += 4)
        __builtin_memcpy(to, &four, 4);
    while (count-- > 0)
        *to++ = (int8_t)value;
}

static inline void conv2d_s8_im2col__dsp_copy(int8_t *to, const int8_t *from, int32_t count)
{
    for (; count >= 4; count -= 4, to += 4, from += 4) {
        uint32_t four;
        __builtin_memcpy(&four, from, 4);
        __builtin_memcpy(to, &four, 4);
    }
    while (count-- > 0)
        *to++ = *from++;
}

/* The values of one row of a window that starts at `column` of a row of the image, with the padding they have. */
static inline void conv2d_s8_im2col__dsp_gather(
    const conv2d_s8_im2col__dsp_params *p, const int8_t *x_row, int32_t column, int8_t *to)
{
    const nn_window *const g = &p->window;
    const nn_span inside = nn_inside(column, g->k_w, g->dilation_w, g->x_w);
    const int32_t places = inside.end - inside.first, dense = g->dilation_w == 1;
    const int32_t runs = dense ? 1 : places, run = (dense ? places : 1) * g->x_c;
    const int8_t *from = x_row + (column + inside.first * g->dilation_w) * g->x_c;

    conv2d_s8_im2col__dsp_fill(to, p->x_zero, inside.first * g->x_c);
    to += inside.first * g->x_c;
    for (int32_t i = 0; i < runs; i++, to += run, from += g->dilation_w * g->x_c)
        conv2d_s8_im2col__dsp_copy(to, from, run);
    conv2d_s8_im2col__dsp_fill(to, p->x_zero, (g->k_w - inside.end) * g->x_c);
}

/* The columns of two windows, `step` columns of the image apart, of which the first starts at (row, column). Rows that lie in
 * the image in one run are read there, others gathered. spare: a row of padding, then room for a row of each window. */
static inline void conv2d_s8_im2col__dsp_columns(
    const conv2d_s8_im2col__dsp_params *p, const int8_t *x, int32_t row, int32_t column, int32_t step, int16_t *columns,
    int8_t *spare)
{
    const nn_window *const g = &p->window;
    const int32_t values = g->k_w * g->x_c, last = g->x_w - g->k_w;
    const int32_t first_runs = g->dilation_w == 1 && column >= 0 && column <= last;
    const int32_t second_runs = g->dilation_w == 1 && column + step >= 0 && column + step <= last;

    for (int32_t k = 0; k < g->k_h; k++, row += g->dilation_h) {
        const int8_t *first = spare, *second = spare;
        if (row >= 0 && row < g->x_h) {
            const int8_t *const x_row = x + row * g->x_w * g->x_c;
            first = first_runs ? x_row + column * g->x_c : spare + values;
            second = second_runs ? x_row + (column + step) * g->x_c : spare + 2 * values;
            if (!first_runs)
                conv2d_s8_im2col__dsp_gather(p, x_row, column, spare + values);
            if (!second_runs)
                conv2d_s8_im2col__dsp_gather(p, x_row, column + step, spare + 2 * values);
        }
        columns = nn_pixel_pair_widen(columns, first, second, values);
    }
}

/* scratch: columns of two windows, then three rows of a window. */
static inline void conv2d_s8_im2col__dsp(
    const conv2d_s8_im2col__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    const nn_window *const g = &p->window;
    const int32_t y_c = p->pair.y_c;
    int16_t *const columns = (int16_t *)scratch;
    int8_t *const spare = (int8_t *)scratch + 16 * p->pair.fours;
    int8_t *to = y;

    conv2d_s8_im2col__dsp_fill(spare, p->x_zero, g->k_w * g->x_c);
    for (int32_t y_row = 0; y_row < g->y_h; y_row++)
        for (int32_t y_col = 0; y_col < g->y_w; y_col += 2) {
            const int32_t next = y_col + 1 < g->y_w; /* an odd row ends with the last window twice */
            const int32_t row = y_row * g->stride_h - g->pad_top, column = y_col * g->stride_w - g->pad_left;
            conv2d_s8_im2col__dsp_columns(p, x, row, column, next * g->stride_w, columns, spare);
            nn_pixel_pair_outputs(&p->pair, columns, to, to + next * y_c);
            to += (1 + next) * y_c;
        }
    nn_pixel_pair_clamp(&p->pair, y, g->y_h * g->y_w);
}

#endif
