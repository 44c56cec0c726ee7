#include "console.h"

#include "clock.h"
#include "core.h"
#include "hal.h"

enum { RING_BYTES = 256, LONGEST_FRACTION = 12 };   /* RING_BYTES: a power of two */

static volatile uint8_t ring[RING_BYTES];
static volatile uint32_t written, read;     /* only the interrupt writes the first, only the program the second */
static volatile bool lost, full;

bool console_received(uint8_t byte)
{
    ring[written % RING_BYTES] = byte;
    written++;
    if (written - read < RING_BYTES)
        return true;
    full = true;
    uart_interrupt_off();
    return false;
}

void console_lost(void)
{
    lost = true;
}

bool console_has_lost(void)
{
    const bool was = lost;
    lost = false;
    return was;
}

/* Sleeps until a byte is there or some interrupt came; SysTick's comes about once a second at the least. */
static bool is_empty_after_a_wait(void)
{
    const uint32_t mask = interrupts_off();     /* else a byte could come between the look and the sleep */
    if (read == written)
        clock_idle();
    interrupts_restore(mask);
    return read == written;
}

static uint8_t take(void)
{
    const uint8_t byte = ring[read % RING_BYTES];
    read++;
    if (full && written - read <= RING_BYTES / 2) {
        full = false;
        uart_interrupt_on();
    }
    return byte;
}

uint8_t console_get(void)
{
    while (is_empty_after_a_wait())
        continue;
    return take();
}

int console_get_within(uint32_t limit_us)
{
    if (read == written) {
        const uint64_t end = clock_us() + limit_us;
        while (is_empty_after_a_wait())
            if (clock_us() > end)
                return -1;
    }
    return take();
}

void put_text(const char *text)
{
    while (*text)
        hal_put(*text++);
}

void put_line_end(void)
{
    put_text("\r\n");
}

void put_unsigned(uint64_t value)
{
    char digits[21];
    char *p = digits + sizeof digits;

    *--p = '\0';
    do
        *--p = (char)('0' + value % 10);
    while (value /= 10);
    put_text(p);
}

void put_hex(uint32_t value, int digits)
{
    while (digits-- > 0)
        hal_put("0123456789abcdef"[value >> (4 * digits) & 15]);
}

void put_decimal(int32_t value, int exponent)
{
    uint32_t magnitude = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;

    if (value < 0)
        hal_put('-');
    if (exponent > 0 || exponent < -LONGEST_FRACTION) {
        put_unsigned(magnitude);
        put_text(exponent < 0 ? "e-" : "e");
        put_unsigned((uint32_t)(exponent < 0 ? -exponent : exponent));
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
    put_text(p);
}
