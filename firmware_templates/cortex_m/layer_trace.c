#include "layer_trace.h"

#include "console.h"
#include "crc32.h"

void layer_trace(uint32_t index, const void *values, uint32_t bytes)
{
    console_text("m-layer-");
    console_unsigned(index);
    console_text("-");
    console_hex(crc32_update(0, values, bytes), 8);
    console_line_end();
}
