/* A library with the generated ones' interface, whose first input byte chooses a fault. */
#ifndef PROBE_H
#define PROBE_H

#include <stdint.h>

#define PROBE_MODEL_ID "feedfacecafebeef"
#define PROBE_ARENA_BYTES 32
#define PROBE_HAS_PREPROCESS 0
#define PROBE_INPUT_COUNT 1
#define PROBE_INPUT_BYTES 16
#define PROBE_INPUT_0_BYTES 16
#define PROBE_INPUT_0_SCALE 0.5f
#define PROBE_INPUT_0_ZERO_POINT (0)
#define PROBE_OUTPUT_COUNT 1
#define PROBE_OUTPUT_BYTES 16
#define PROBE_OUTPUT_0_BYTES 16
#define PROBE_OUTPUT_0_SCALE 0.5f
#define PROBE_OUTPUT_0_ZERO_POINT (0)

void *probe_input(void *arena, int index);
const void *probe_output(const void *arena, int index);
void probe_invoke(void *arena);

#endif
