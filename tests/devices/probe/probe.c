#include "probe.h"

#include <stddef.h>

enum { ANSWER, UNDEFINED_INSTRUCTION, BAD_ADDRESS, STACK_OVERFLOW, ENDLESS, LONG };

void *probe_input(void *arena, int index)
{
    return index == 0 ? arena : NULL;
}

const void *probe_output(const void *arena, int index)
{
    return index == 0 ? (const uint8_t *)arena + 16 : NULL;
}

static int deeper(volatile uint8_t *above)
{
    volatile uint8_t here[64];

    here[0] = above[0];
    return here[0] ? deeper(here) + here[0] : 0;    /* it never is 0: this goes on until the stack ends */
}

/* Answers with the input, reversed. */
void probe_invoke(void *arena)
{
    uint8_t *x = arena;
    uint32_t rounds = 420u * 1000 * 1000;

    switch (x[0]) {
    case UNDEFINED_INSTRUCTION:
        __asm volatile("udf #0");
        break;
    case BAD_ADDRESS:
        x[1] = *(volatile uint8_t *)0x70000000;
        break;
    case STACK_OVERFLOW:
        x[1] = (uint8_t)deeper(x);
        break;
    case ENDLESS:
        for (;;)
            __asm volatile("");
    case LONG:                          /* 840 million instructions: longer than SysTick counts without a wrap */
        __asm volatile("1:\n\tsubs %0, #1\n\tbne 1b" : "+l"(rounds) : : "cc");
        break;
    default:
        break;
    }
    for (int i = 0; i < 16; i++)
        x[16 + i] = x[15 - i];
}
