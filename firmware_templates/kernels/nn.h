/* What every kernel shares: the types of the standard headers, alignment and small integer functions. C99. */
#ifndef NN_H
#define NN_H

#include <stddef.h>
#include <stdint.h>

/* Requantisation shifts negative numbers to the right and relies on the sign being kept, as every compiler for Arm does. */
typedef char nn_right_shift_is_arithmetic[((-1) >> 1) == -1 ? 1 : -1];

static inline int32_t nn_min(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t nn_max(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t nn_clamp(int32_t x, int32_t low, int32_t high) { return nn_min(nn_max(x, low), high); }

#endif
