/* two_inputs: an int8 neural network as plain C99. No heap, no libc, no interpreter. Generated; do not edit.
 *
 * All memory is one arena of TWO_INPUTS_ARENA_BYTES bytes, 16-byte aligned: yours, or two_inputs_static_arena when this
 * library and your code are compiled with -DTWO_INPUTS_STATIC_ARENA. One inference of int8 values:
 *
 *     memcpy(two_inputs_input_a_left(arena), values_0, TWO_INPUTS_INPUT_0_BYTES);
 *     memcpy(two_inputs_input_a_left_2(arena), values_1, TWO_INPUTS_INPUT_1_BYTES);
 *     two_inputs_invoke(arena);
 *     const int8_t *answer = two_inputs_output_the_sum_of_both(arena);
 *
 * Inference overwrites the inputs: write them again before each call. Outputs stay until the arena is written to. In memory
 * the last axis (channels) runs fastest. Nothing is kept outside the arena: each thread may have one of its own.
 * real = scale * (q - zero_point):
 * input 0: "a/left" int8 3x4x2, scale 0.0199999996, zero point 4
 * input 1: "a.left" int8 3x4x2, scale 0.0299999993, zero point -9
 * output 0: "the "sum" *  of__/both" int8 3x4x2, scale 0.0399999991, zero point 1
 * output 1: "positive_" int8 3x4x2, scale 0.0399999991, zero point 1
 */
#ifndef TWO_INPUTS_H
#define TWO_INPUTS_H

#include <stdint.h>

#define TWO_INPUTS_MODEL_ID "731afd52ea3c1f34"
#define TWO_INPUTS_MACS 0
#define TWO_INPUTS_ARENA_BYTES 64
#define TWO_INPUTS_HAS_PREPROCESS 0

#define TWO_INPUTS_INPUT_COUNT 2
#define TWO_INPUTS_INPUT_BYTES 48 /* of all inputs together */
#define TWO_INPUTS_INPUT_0_BYTES 24
#define TWO_INPUTS_INPUT_0_SCALE 0.0199999996f
#define TWO_INPUTS_INPUT_0_ZERO_POINT (4)
#define TWO_INPUTS_INPUT_1_BYTES 24
#define TWO_INPUTS_INPUT_1_SCALE 0.0299999993f
#define TWO_INPUTS_INPUT_1_ZERO_POINT (-9)
#define TWO_INPUTS_OUTPUT_COUNT 2
#define TWO_INPUTS_OUTPUT_BYTES 48 /* of all outputs together */
#define TWO_INPUTS_OUTPUT_0_BYTES 24
#define TWO_INPUTS_OUTPUT_0_SCALE 0.0399999991f
#define TWO_INPUTS_OUTPUT_0_ZERO_POINT (1)
#define TWO_INPUTS_OUTPUT_1_BYTES 24
#define TWO_INPUTS_OUTPUT_1_SCALE 0.0399999991f
#define TWO_INPUTS_OUTPUT_1_ZERO_POINT (1)

#ifdef __cplusplus
extern "C" {
#endif

/* Input `index` to write before, output `index` to read after an inference; a null pointer when there is no such index. */
void *two_inputs_input(void *arena, int index);
const void *two_inputs_output(const void *arena, int index);

/* The same by name. */
static inline int8_t *two_inputs_input_a_left(void *arena)
{
    return (int8_t *)two_inputs_input(arena, 0);
}

static inline int8_t *two_inputs_input_a_left_2(void *arena)
{
    return (int8_t *)two_inputs_input(arena, 1);
}

static inline const int8_t *two_inputs_output_the_sum_of_both(const void *arena)
{
    return (const int8_t *)two_inputs_output(arena, 0);
}

static inline const int8_t *two_inputs_output_positive(const void *arena)
{
    return (const int8_t *)two_inputs_output(arena, 1);
}

/* One inference: from the inputs in the arena to the outputs in it. */
void two_inputs_invoke(void *arena);

#ifdef TWO_INPUTS_STATIC_ARENA
extern uint8_t two_inputs_static_arena[TWO_INPUTS_ARENA_BYTES];
#endif

#ifdef __cplusplus
}
#endif

#endif
