/* Runs libraries one after the other, each in an arena that comes ready from arenas.bin by Arm semihosting. Instructions count
 * from the start mark to the end mark; the libraries set both after each layer (NN_TRACE). */
#include <stddef.h>
#include <stdint.h>

#include "libraries.h" /* includes them and tells LIBRARIES, their {invoke, arena_bytes}, and LARGEST_ARENA */

typedef struct {
    void (*invoke)(void *arena);
    uint32_t arena_bytes;
} library;

extern uint32_t stack_top[], bss_start[], bss_end[], data_start[], data_end[];
extern const uint32_t data_load[];
void reset(void);
void start(void);
void fault(void);

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[8] = {
    { .stack = stack_top }, { .handler = reset }, { .handler = fault }, { .handler = fault },
    { .handler = fault }, { .handler = fault }, { .handler = fault }, { .handler = fault }
};

enum { SYS_OPEN = 0x01, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20, MODE_READ = 1, APPLICATION_EXIT = 0x20026 };

static uint32_t call_host(uint32_t operation, const void *arguments)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = arguments;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void leave(uint32_t code)
{
    const uint32_t arguments[2] = { APPLICATION_EXIT, code };
    call_host(SYS_EXIT_EXTENDED, arguments);
    for (;;)
        ;
}

void fault(void)
{
    leave(3);
}

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
    const uint32_t *from = data_load;
    for (volatile uint32_t *to = data_start; to < data_end; to++)
        *to = *from++;
    for (volatile uint32_t *to = bss_start; to < bss_end; to++)
        *to = 0;

    static const char name[] = "arenas.bin";
    const uint32_t arguments[3] = { (uint32_t)(uintptr_t)name, MODE_READ, sizeof name - 1 };
    const uint32_t file = call_host(SYS_OPEN, arguments);
    if (file == UINT32_MAX)
        leave(1);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        const uint32_t wanted[3] = { file, (uint32_t)(uintptr_t)arena, libraries[i].arena_bytes };
        if (call_host(SYS_READ, wanted) != 0) /* how many bytes are missing */
            leave(2);
        __asm volatile("mov r9, r9" : : : "memory");
        libraries[i].invoke(arena);
        __asm volatile("mov r10, r10" : : : "memory");
    }
    leave(0);
}
