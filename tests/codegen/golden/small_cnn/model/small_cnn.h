/* small_cnn: an int8 neural network as plain C99. No heap, no libc, no interpreter. Generated; do not edit.
 *
 * All memory is one arena of SMALL_CNN_ARENA_BYTES bytes, 16-byte aligned: yours, or small_cnn_static_arena when this
 * library and your code are compiled with -DSMALL_CNN_STATIC_ARENA. One inference of raw uint8 values:
 *
 *     memcpy(small_cnn_input_image(arena), values, SMALL_CNN_INPUT_0_BYTES);
 *     small_cnn_preprocess(arena);
 *     small_cnn_invoke(arena);
 *     const int8_t *answer = small_cnn_output_probabilities(arena);
 *
 * Inference overwrites the inputs: write them again before each call. Outputs stay until the arena is written to. In memory
 * the last axis (channels) runs fastest. Nothing is kept outside the arena: each thread may have one of its own.
 * real = scale * (q - zero_point):
 * input 0: "image" int8 8x8x1, scale 0.0625, zero point -128
 * output 0: "probabilities" int8 10, scale 0.00390625, zero point -128
 */
#ifndef SMALL_CNN_H
#define SMALL_CNN_H

#include <stdint.h>

#define SMALL_CNN_MODEL_ID "86f5012e48897a1c"
#define SMALL_CNN_MACS 13392
#define SMALL_CNN_ARENA_BYTES 1664
#define SMALL_CNN_HAS_PREPROCESS 1

#define SMALL_CNN_INPUT_COUNT 1
#define SMALL_CNN_INPUT_BYTES 64 /* of all inputs together */
#define SMALL_CNN_INPUT_0_BYTES 64
#define SMALL_CNN_INPUT_0_SCALE 0.0625f
#define SMALL_CNN_INPUT_0_ZERO_POINT (-128)
#define SMALL_CNN_OUTPUT_COUNT 1
#define SMALL_CNN_OUTPUT_BYTES 10 /* of all outputs together */
#define SMALL_CNN_OUTPUT_0_BYTES 10
#define SMALL_CNN_OUTPUT_0_SCALE 0.00390625f
#define SMALL_CNN_OUTPUT_0_ZERO_POINT (-128)

#ifdef __cplusplus
extern "C" {
#endif

/* Input `index` to write before, output `index` to read after an inference; a null pointer when there is no such index. */
void *small_cnn_input(void *arena, int index);
const void *small_cnn_output(const void *arena, int index);

/* The same by name. */
static inline uint8_t *small_cnn_input_image(void *arena)
{
    return (uint8_t *)small_cnn_input(arena, 0);
}

static inline const int8_t *small_cnn_output_probabilities(const void *arena)
{
    return (const int8_t *)small_cnn_output(arena, 0);
}

/* Turns the raw uint8 values in input 0 into the model's int8, in place: before small_cnn_invoke. */
void small_cnn_preprocess(void *arena);

/* One inference: from the inputs in the arena to the outputs in it. */
void small_cnn_invoke(void *arena);

#ifdef SMALL_CNN_STATIC_ARENA
extern uint8_t small_cnn_static_arena[SMALL_CNN_ARENA_BYTES];
#endif

#ifdef __cplusplus
}
#endif

#endif
