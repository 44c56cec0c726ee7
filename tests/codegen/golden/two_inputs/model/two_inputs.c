/* two_inputs: the layers in order. Generated; do not edit. */
#include "two_inputs.h"

#include <stddef.h>

#include "kernels/add_s8.h"
#include "kernels/lookup_s8.h"
#include "two_inputs_weights.h"

/* Called after each layer with the values it has just written; a debugger's or a test's hook. */
#ifndef NN_TRACE
#define NN_TRACE(index, name, pointer, bytes) ((void)0)
#endif

/* Where in the arena each activation lives. */
enum {
    AT_a_left = 0, /* 3x4x2 int8, from the input to layer 0 */
    AT_a_left_2 = 32, /* 3x4x2 int8, from the input to layer 0 */
    AT_the_sum_of_both = 0, /* 3x4x2 int8, from layer 0 to the end */
    AT_positive = 32, /* 3x4x2 int8, from layer 1 to the end */
};

#ifdef TWO_INPUTS_STATIC_ARENA
NN_ALIGNED(16) uint8_t two_inputs_static_arena[TWO_INPUTS_ARENA_BYTES];
#endif

void *two_inputs_input(void *memory, int index)
{
    int8_t *const arena = (int8_t *)memory;
    switch (index) {
    case 0: return arena + AT_a_left;
    case 1: return arena + AT_a_left_2;
    default: return NULL;
    }
}

const void *two_inputs_output(const void *memory, int index)
{
    const int8_t *const arena = (const int8_t *)memory;
    (void)arena;
    switch (index) {
    case 0: return arena + AT_the_sum_of_both;
    case 1: return arena + AT_positive;
    default: return NULL;
    }
}

void two_inputs_invoke(void *memory)
{
    int8_t *const arena = (int8_t *)memory;
    (void)arena;

    /* 0: add "the "sum" *  of__/both" 3x4x2 + 3x4x2 -> 3x4x2 */
    add_s8(&layer_the_sum_of_both, arena + AT_a_left, arena + AT_a_left_2, arena + AT_the_sum_of_both);
    NN_TRACE(0, "the 'sum' *  of__/both", arena + AT_the_sum_of_both, 24);

    /* 1: relu "positive_" 3x4x2 -> 3x4x2 */
    lookup_s8(&layer_positive, arena + AT_the_sum_of_both, arena + AT_positive);
    NN_TRACE(1, "positive_", arena + AT_positive, 24);
}
