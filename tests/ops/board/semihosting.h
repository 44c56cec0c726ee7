/* What the programs of the tests share on a bare core: vectors, memory made ready, and files of the host by Arm semihosting. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

extern uint32_t stack_top[], bss_start[], bss_end[], data_start[], data_end[];
extern const uint32_t data_load[];
void reset(void);
void fault(void);

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[8] = {
    { .stack = stack_top }, { .handler = reset }, { .handler = fault }, { .handler = fault },
    { .handler = fault }, { .handler = fault }, { .handler = fault }, { .handler = fault }
};

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_READ = 1, MODE_WRITE = 5, APPLICATION_EXIT = 0x20026 };
enum { FILE_REFUSED = 1, BYTES_MISSING = 2, CORE_FAULT = 3 }; /* how the program may end, besides well */

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
    leave(CORE_FAULT);
}

static uint32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t arguments[3] = { (uint32_t)(uintptr_t)name, mode, length };
    const uint32_t file = call_host(SYS_OPEN, arguments);
    if (file == UINT32_MAX)
        leave(FILE_REFUSED);
    return file;
}

static void transfer(uint32_t operation, uint32_t file, const void *memory, uint32_t bytes)
{
    const uint32_t arguments[3] = { file, (uint32_t)(uintptr_t)memory, bytes };
    if (call_host(operation, arguments) != 0) /* how many bytes were not transferred */
        leave(BYTES_MISSING);
}

static void make_memory_ready(void)
{
    const uint32_t *from = data_load;
    for (volatile uint32_t *to = data_start; to < data_end; to++)
        *to = *from++;
    for (volatile uint32_t *to = bss_start; to < bss_end; to++)
        *to = 0;
}

#endif
