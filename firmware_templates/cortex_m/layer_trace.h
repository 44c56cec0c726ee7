/* For finding where a device goes wrong: built with `make WARNINGS="-include src/layer_trace.h"`, every inference prints the
 * CRC-32 of each layer's values as soon as it has them, m-layer-INDEX-CRC32. Times mean nothing then. */
#ifndef LAYER_TRACE_H
#define LAYER_TRACE_H

#include <stdint.h>

#define NN_TRACE(index, name, pointer, bytes) layer_trace(index, pointer, bytes)

void layer_trace(uint32_t index, const void *values, uint32_t bytes);

#endif
