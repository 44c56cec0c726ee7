/* Text and bytes over the board's UART: a ring buffer filled by the receive interrupt, and printing without a C library. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

/* From the receive interrupt: one byte has arrived. False when there is no room for another: then the interrupt is off, and
 * comes back when there is. */
bool console_received(uint8_t byte);

/* From the receive interrupt: the hardware has lost a byte. */
void console_lost(void);

/* The next received byte, waiting for it; or, with a time limit, -1 when none came in `limit_us`. */
uint8_t console_get(void);
int console_get_within(uint32_t limit_us);

/* Whether bytes were lost since the last call. */
bool console_has_lost(void);

void put_text(const char *text);
void put_unsigned(uint64_t value);
void put_hex(uint32_t value, int digits);
void put_line_end(void);

/* value * 10^exponent, as plain decimals where that is short ("-0.003906"), else with an exponent ("3906e-20"). */
void put_decimal(int32_t value, int exponent);

#endif
