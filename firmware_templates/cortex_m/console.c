#include "console.h"

#include "hal.h"

enum { LONGEST_FRACTION = 12 };

void console_text(const char *text)
{
    while (*text)
        hal_put(*text++);
}

void console_line_end(void)
{
    console_text("\r\n");
}

void console_unsigned(uint64_t value)
{
    char digits[21];
    char *p = digits + sizeof digits;

    *--p = '\0';
    do
        *--p = (char)('0' + value % 10);
    while (value /= 10);
    console_text(p);
}

void console_hex(uint32_t value, int digits)
{
    while (digits-- > 0)
        hal_put("0123456789abcdef"[value >> (4 * digits) & 15]);
}

void console_decimal(int32_t value, int exponent)
{
    uint32_t magnitude = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;

    if (value < 0)
        hal_put('-');
    if (exponent > 0 || exponent < -LONGEST_FRACTION) {
        console_unsigned(magnitude);
        console_text(exponent < 0 ? "e-" : "e");
        console_unsigned((uint32_t)(exponent < 0 ? -exponent : exponent));
        return;
    }
    char digits[LONGEST_FRACTION + 4];
    char *p = digits + sizeof digits;

    *--p = '\0';
    for (int i = 0; magnitude || i <= -exponent; i++) {     /* from the right; at least one digit before the point */
        if (i && i == -exponent)
            *--p = '.';
        *--p = (char)('0' + magnitude % 10);
        magnitude /= 10;
    }
    console_text(p);
}
