#include "clock.h"

#include "board.h"
#include "core.h"

enum { PERIOD_BITS = 24, TICK_ENABLE = 7, TICK_PENDING = 1 << 26, TRACE_ENABLE = 1 << 24 };
#define PERIOD_MASK ((UINT32_C(1) << PERIOD_BITS) - 1)

static volatile uint32_t periods;       /* whole SysTick periods since the last clock_align */
static uint64_t before_align;           /* SysTick: cycles before it */
static uint64_t cycles;                 /* DWT: the count extended to 64 bits, and where the 32-bit counter stood then */
static uint32_t cycles_at;
static bool use_dwt, stalled;

/* DWT: extends the 32-bit counter. The SysTick interrupt calls it every 2^24 cycles, long before it can wrap. */
static uint64_t extend(void)
{
    const uint32_t at = DWT_CYCCNT;
    cycles += at - cycles_at;
    cycles_at = at;
    return cycles;
}

/* SysTick: cycles since clock_align. It counts down and its period is 2^24, so 0 is the start of the next period. */
static uint64_t systick(void)
{
    uint32_t whole = periods;
    uint32_t part = -SYSTICK_VALUE & PERIOD_MASK;
    if (SCB_ICSR & TICK_PENDING) {      /* a period ended while interrupts were off: `part` may be of either period */
        whole++;
        part = -SYSTICK_VALUE & PERIOD_MASK;
    }
    return ((uint64_t)whole << PERIOD_BITS) + part;
}

void clock_init(void)
{
    SYSTICK_RELOAD = PERIOD_MASK;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = TICK_ENABLE;
    if (BOARD_HAS_DWT) {
        DEMCR |= TRACE_ENABLE;
        DWT_CYCCNT = 0;
        DWT_CONTROL |= 1;
        for (volatile int i = 0; i < 100; i++)
            continue;
        use_dwt = DWT_CYCCNT != 0;
    }
}

const char *clock_name(void)
{
    return use_dwt ? "dwt" : "systick";
}

uint64_t clock_now(void)
{
    const uint32_t mask = interrupts_off();
    const uint64_t now = use_dwt ? extend() : before_align + systick();
    interrupts_restore(mask);
    return now;
}

uint64_t clock_us(void)
{
    const uint64_t now = clock_now();
    return now / BOARD_CORE_HZ * 1000000u + now % BOARD_CORE_HZ * 1000000u / BOARD_CORE_HZ;  /* no product overflows */
}

void clock_align(void)
{
    const uint32_t mask = interrupts_off();
    before_align += systick();
    SYSTICK_VALUE = 0;      /* any write clears the counter: a new period begins */
    SCB_ICSR = TICK_PENDING >> 1;   /* PENDSTCLR: the period that just ended has been counted */
    periods = 0;
    interrupts_restore(mask);
}

bool clock_runs(void)
{
    return !stalled;
}

void clock_idle(void)
{
    if (!use_dwt)
        wait_for_interrupt();
}

void clock_interrupt(void)
{
    periods++;
    if (use_dwt) {
        const uint64_t last = cycles;
        stalled = extend() == last;
    }
}
