/* small_cnn: the layers in order. Generated; do not edit. */
#include "small_cnn.h"

#include <stddef.h>

#include "kernels/add_s8_dense.h"
#include "kernels/average_pool2d_s8_whole__dsp.h"
#include "kernels/conv2d_s8_1x1__dsp.h"
#include "kernels/conv2d_s8_image__dsp.h"
#include "kernels/depthwise_conv2d_s8_3x3__dsp.h"
#include "kernels/fully_connected_s8__dsp.h"
#include "kernels/softmax_s8.h"
#include "small_cnn_preprocess.h"
#include "small_cnn_weights.h"

/* Called after each layer with the values it has just written; a debugger's or a test's hook. */
#ifndef NN_TRACE
#define NN_TRACE(index, name, pointer, bytes) ((void)0)
#endif

/* Where in the arena each activation lives. */
enum {
    AT_image = 112, /* 8x8x1 int8, from the input to layer 0 */
    AT_stem = 640, /* 8x8x8 int8, from layer 0 to layer 3 */
    AT_dw = 1152, /* 8x8x8 int8, from layer 1 to layer 2 */
    AT_pw = 0, /* 8x8x8 int8, from layer 2 to layer 3 */
    AT_sum = 0, /* 8x8x8 int8, from layer 3 to layer 4 */
    AT_pooled = 0, /* 1x1x8 int8, from layer 4 to layer 5 */
    AT_flat = 0, /* 8 int8, from layer 5 to layer 6 */
    AT_logits = 0, /* 10 int8, from layer 6 to layer 7 */
    AT_probabilities = 0, /* 10 int8, from layer 7 to the end */
};

#ifdef SMALL_CNN_STATIC_ARENA
NN_ALIGNED(16) uint8_t small_cnn_static_arena[SMALL_CNN_ARENA_BYTES];
#endif

void *small_cnn_input(void *memory, int index)
{
    int8_t *const arena = (int8_t *)memory;
    switch (index) {
    case 0: return arena + AT_image;
    default: return NULL;
    }
}

const void *small_cnn_output(const void *memory, int index)
{
    const int8_t *const arena = (const int8_t *)memory;
    (void)arena;
    switch (index) {
    case 0: return arena + AT_probabilities;
    default: return NULL;
    }
}

void small_cnn_preprocess(void *memory)
{
    small_cnn_preprocess_values((uint8_t *)memory + AT_image);
}

void small_cnn_invoke(void *memory)
{
    int8_t *const arena = (int8_t *)memory;
    (void)arena;

    /* 0: conv2d "stem" 8x8x1 -> 8x8x8, 4,608 MACs */
    conv2d_s8_image__dsp(&layer_stem, arena + AT_image, arena + AT_stem, (void *)(arena + 0));
    NN_TRACE(0, "stem", arena + AT_stem, 512);

    /* 1: depthwise_conv2d "dw" 8x8x8 -> 8x8x8, 4,608 MACs */
    depthwise_conv2d_s8_3x3__dsp(&layer_dw, arena + AT_stem, arena + AT_dw, (void *)(arena + 0));
    NN_TRACE(1, "dw", arena + AT_dw, 512);

    /* 2: conv2d "pw" 8x8x8 -> 8x8x8, 4,096 MACs */
    conv2d_s8_1x1__dsp(&layer_pw, arena + AT_dw, arena + AT_pw, (void *)(arena + 512));
    NN_TRACE(2, "pw", arena + AT_pw, 512);

    /* 3: add "sum" 8x8x8 + 8x8x8 -> 8x8x8 */
    add_s8_dense(&layer_sum, arena + AT_stem, arena + AT_pw, arena + AT_sum);
    NN_TRACE(3, "sum", arena + AT_sum, 512);

    /* 4: average_pool2d "pooled" 8x8x8 -> 1x1x8 */
    average_pool2d_s8_whole__dsp(&layer_pooled, arena + AT_sum, arena + AT_pooled);
    NN_TRACE(4, "pooled", arena + AT_pooled, 8);

    /* 5: reshape "flat" 1x1x8 -> 8 */
    /* no code: the same bytes as pooled */
    NN_TRACE(5, "flat", arena + AT_flat, 8);

    /* 6: fully_connected "logits" 8 -> 10, 80 MACs */
    fully_connected_s8__dsp(&layer_logits, arena + AT_flat, arena + AT_logits, (void *)(arena + 16));
    NN_TRACE(6, "logits", arena + AT_logits, 10);

    /* 7: softmax "probabilities" 10 -> 10 */
    softmax_s8(&layer_probabilities, arena + AT_logits, arena + AT_probabilities);
    NN_TRACE(7, "probabilities", arena + AT_probabilities, 10);
}
