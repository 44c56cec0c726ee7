/* How operators with two operands walk over them: four nested loops; a step of 0 repeats an operand. The output is dense. */
#ifndef NN_BROADCAST_H
#define NN_BROADCAST_H

#include "nn.h"

typedef struct {
    int32_t count[4];                   /* outermost first; the innermost loop's steps are 0 or 1 */
    int32_t a_step[4], b_step[4];
} nn_broadcast;

#endif
