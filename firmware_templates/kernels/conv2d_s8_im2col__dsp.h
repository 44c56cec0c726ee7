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

static inline void conv2d_s8_im2col__dsp_fill(int8_t *to, int8_t value, int32_t count)
{
    while (count-- > 0)
        *to++ = value;
}

static inline void conv2d_s8_im2col__dsp_copy(int8_t *to, const int8_t *from, int32_t count)
{
    while (count-- > 0)
        *to++ = *from++;
}

/* The values of one row of a window that starts at (row, column) of the image: where they lie there in one run, or copied to
 * `spare` with the padding they have. */
static inline const int8_t *conv2d_s8_im2col__dsp_row(
    const conv2d_s8_im2col__dsp_params *p, const int8_t *x, int32_t row, int32_t column, int8_t *spare)
{
    const nn_window *const g = &p->window;
    const int32_t inside = row >= 0 && row < g->x_h;

    if (inside && g->dilation_w == 1 && column >= 0 && column + g->k_w <= g->x_w)
        return x + (row * g->x_w + column) * g->x_c;
    for (int32_t k = 0; k < g->k_w; k++, column += g->dilation_w) {
        int8_t *const to = spare + k * g->x_c;
        if (inside && column >= 0 && column < g->x_w)
            conv2d_s8_im2col__dsp_copy(to, x + (row * g->x_w + column) * g->x_c, g->x_c);
        else
            conv2d_s8_im2col__dsp_fill(to, (int8_t)p->x_zero, g->x_c);
    }
    return spare;
}

/* scratch: columns of two windows, then a row of each. */
static inline void conv2d_s8_im2col__dsp(
    const conv2d_s8_im2col__dsp_params *p, const int8_t *x, int8_t *y, void *scratch)
{
    const nn_window *const g = &p->window;
    const int32_t y_c = p->pair.y_c, row_values = g->k_w * g->x_c;
    int16_t *const columns = (int16_t *)scratch;
    int8_t *const spare = (int8_t *)scratch + 16 * p->pair.fours;
    int8_t *to = y;

    for (int32_t y_row = 0; y_row < g->y_h; y_row++)
        for (int32_t y_col = 0; y_col < g->y_w; y_col += 2) {
            const int32_t next = y_col + 1 < g->y_w; /* an odd row ends with the last window twice */
            const int32_t row = y_row * g->stride_h - g->pad_top, column = y_col * g->stride_w - g->pad_left;
            int16_t *end = columns;
            for (int32_t k = 0; k < g->k_h; k++) {
                const int32_t at = row + k * g->dilation_h;
                const int8_t *const a = conv2d_s8_im2col__dsp_row(p, x, at, column, spare);
                const int8_t *const b =
                    conv2d_s8_im2col__dsp_row(p, x, at, column + next * g->stride_w, spare + row_values);
                end = nn_pixel_pair_widen(end, a, b, row_values);
            }
            nn_pixel_pair_outputs(&p->pair, columns, to, to + next * y_c);
            to += (1 + next) * y_c;
        }
    nn_pixel_pair_clamp(&p->pair, y, g->y_h * g->y_w);
}

#endif
