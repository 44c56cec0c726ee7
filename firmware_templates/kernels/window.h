/* The geometry that convolutions and pools share: a window that slides over an NHWC image. */
#ifndef NN_WINDOW_H
#define NN_WINDOW_H

#include "nn.h"

typedef struct {
    int32_t x_h, x_w, x_c;              /* input */
    int32_t k_h, k_w;                   /* window */
    int32_t y_h, y_w, y_c;              /* output */
    int32_t stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
} nn_window;

/* The window's rows (or columns) that lie inside the image: `first` up to, not including, `end`. */
typedef struct {
    int32_t first, end;
} nn_span;

/* `start` is where the window's first row falls, negative above the image of `size` rows. Divides only at the borders. */
static inline nn_span nn_inside(int32_t start, int32_t kernel, int32_t dilation, int32_t size)
{
    nn_span span = { 0, kernel };
    if (start < 0)
        span.first = nn_min(kernel, (-start + dilation - 1) / dilation);
    if (start + (kernel - 1) * dilation >= size)
        span.end = nn_max(span.first, start >= size ? 0 : (size - start + dilation - 1) / dilation);
    return span;
}

/* The part of a window that lies inside the image; empty when it has no rows or no columns. */
typedef struct {
    int32_t rows, cols;
    int32_t x_first;                    /* index of its first value in the image, channel 0 */
    int32_t k_first;                    /* index of that value's place in the window, k_w places a row */
} nn_patch;

/* The window whose answer is at (y_row, y_col) of the output. */
static inline nn_patch nn_patch_at(const nn_window *g, int32_t y_row, int32_t y_col)
{
    const int32_t row0 = y_row * g->stride_h - g->pad_top, col0 = y_col * g->stride_w - g->pad_left;
    const nn_span rows = nn_inside(row0, g->k_h, g->dilation_h, g->x_h);
    const nn_span cols = nn_inside(col0, g->k_w, g->dilation_w, g->x_w);
    const int32_t row = row0 + rows.first * g->dilation_h, col = col0 + cols.first * g->dilation_w;
    const nn_patch patch = {
        rows.end - rows.first, cols.end - cols.first, (row * g->x_w + col) * g->x_c, rows.first * g->k_w + cols.first
    };
    return patch;
}

#endif
