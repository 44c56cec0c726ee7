/* Weights and layer parameters of two_inputs; included by two_inputs.c alone. Generated; do not edit. */
#ifndef TWO_INPUTS_WEIGHTS_H
#define TWO_INPUTS_WEIGHTS_H

#ifndef NN_ALIGNED
#define NN_ALIGNED(bytes) __attribute__((aligned(bytes)))
#endif

/* 0: add "the "sum" *  of__/both" 3x4x2 + 3x4x2 -> 3x4x2 */
static const add_s8_params layer_the_sum_of_both = {
    .loops = {
        .count = { 1, 1, 1, 24 },
        .a_step = { 0, 0, 0, 1 },
        .b_step = { 0, 0, 0, 1 }
    },
    .a_zero = 4, .a_multiplier = 1431655765, .a_shift = -1, .b_zero = -9, .b_multiplier = 1073741824,
    .b_shift = 0, .b_sign = 1, .y_zero = 1, .y_multiplier = 1610612736, .y_shift = -19, .clamp_min = -128,
    .clamp_max = 127
};

static const int8_t layer_positive_table[256] NN_ALIGNED(4) = {
      1,   1,   2,   3,   4,   5,   6,   7,   8,   9,  10,  11,  12,  13,  14,  15,  16,  17,  18,  19,  20,
     21,  22,  23,  24,  25,  26,  27,  28,  29,  30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,  41,
     42,  43,  44,  45,  46,  47,  48,  49,  50,  51,  52,  53,  54,  55,  56,  57,  58,  59,  60,  61,  62,
     63,  64,  65,  66,  67,  68,  69,  70,  71,  72,  73,  74,  75,  76,  77,  78,  79,  80,  81,  82,  83,
     84,  85,  86,  87,  88,  89,  90,  91,  92,  93,  94,  95,  96,  97,  98,  99, 100, 101, 102, 103, 104,
    105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125,
    126, 127,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,   1,
      1,   1,   1,   1
};

/* 1: relu "positive_" 3x4x2 -> 3x4x2 */
static const lookup_s8_params layer_positive = {
    .count = 24,
    .table = layer_positive_table
};

#endif
