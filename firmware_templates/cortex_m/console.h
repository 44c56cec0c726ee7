/* Text over the board's UART, without a C library. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdint.h>

void console_text(const char *text);
void console_unsigned(uint64_t value);
void console_hex(uint32_t value, int digits);
void console_line_end(void);

/* value * 10^exponent, as plain decimals where that is short ("-0.003906"), else with an exponent ("3906e-20"). */
void console_decimal(int32_t value, int exponent);

#endif
