/* Bytes from the board's UART: a ring buffer that the receive interrupt fills. */
#ifndef RECEIVE_H
#define RECEIVE_H

#include <stdbool.h>
#include <stdint.h>

/* From the receive interrupt: one byte has arrived. False when there is no room for another: then the interrupt is off, and
 * comes back when there is. */
bool receive_byte(uint8_t byte);

/* From the receive interrupt: the hardware has lost a byte. */
void receive_lost(void);

/* The next received byte, waiting for it; or, with a time limit, -1 when none came in `limit_us`. */
uint8_t receive_get(void);
int receive_get_within(uint32_t limit_us);

/* Whether bytes were lost since the last call. */
bool receive_has_lost(void);

#endif
