#include "receive.h"

#include "clock.h"
#include "core.h"

enum { RING_BYTES = 256 };      /* a power of two */

static volatile uint8_t ring[RING_BYTES];
static volatile uint32_t written, read;     /* only the interrupt writes the first, only the program the second */
static volatile bool lost, full;

bool receive_byte(uint8_t byte)
{
    ring[written % RING_BYTES] = byte;
    written++;
    if (written - read < RING_BYTES)
        return true;
    full = true;
    uart_interrupt_off();
    return false;
}

void receive_lost(void)
{
    lost = true;
}

bool receive_has_lost(void)
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

uint8_t receive_get(void)
{
    while (is_empty_after_a_wait())
        continue;
    return take();
}

int receive_get_within(uint32_t limit_us)
{
    if (read == written) {
        const uint64_t end = clock_us() + limit_us;
        while (is_empty_after_a_wait())
            if (clock_us() > end)
                return -1;
    }
    return take();
}
