/* CRC-32 as zlib, Ethernet and PNG compute it. Start with 0; feed the result back to continue. */
#ifndef CRC32_H
#define CRC32_H

#include <stdint.h>

uint32_t crc32_update(uint32_t crc, const uint8_t *bytes, uint32_t n);

#endif
