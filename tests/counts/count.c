/* Runs libraries one after the other, each in an arena that comes ready from arenas.bin by Arm semihosting. Instructions count
 * from the start mark to the end mark; the libraries set both after each layer (NN_TRACE). */
#include "semihosting.h"

#include "libraries.h" /* includes them and tells LIBRARIES, their {invoke, arena_bytes}, and LARGEST_ARENA */

typedef struct {
    void (*invoke)(void *arena);
    uint32_t arena_bytes;
} library;

void start(void);

static const library libraries[] = { LIBRARIES };
static uint8_t arena[LARGEST_ARENA] __attribute__((aligned(16)));

/* The FPU before any code of the compiler's. */
__attribute__((naked)) void reset(void)
{
    __asm volatile(
        "ldr r0, =0xE000ED88\n\t"
        "ldr r1, [r0]\n\t"
        "orr r1, r1, #0xF00000\n\t"
        "str r1, [r0]\n\t"
        "dsb\n\t"
        "isb\n\t"
        "b start");
}

void start(void)
{
    make_memory_ready();

    const uint32_t file = open_file("arenas.bin", 10, MODE_READ);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        transfer(SYS_READ, file, arena, libraries[i].arena_bytes);
        __asm volatile("mov r9, r9" : : : "memory");
        libraries[i].invoke(arena);
        __asm volatile("mov r10, r10" : : : "memory");
    }
    leave(0);
}
