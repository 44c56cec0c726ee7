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

#endif
