/* Runs a generated library over the vectors in inputs.bin and writes the answers to outputs.bin, and each time the whole arena,
 * which was filled with GUARD before, to arena.bin: by Arm semihosting. */
#include <stddef.h>
#include <stdint.h>

#include MODEL_HEADER

extern uint32_t stack_top[], bss_start[], bss_end[], data_start[], data_end[];
extern const uint32_t data_load[];
void reset(void);
void fault(void);

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[7] = {
    { .stack = stack_top }, { .handler = reset }, { .handler = fault }, { .handler = fault },
    { .handler = fault }, { .handler = fault }, { .handler = fault }
};

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { MODE_READ = 1, MODE_WRITE = 5, APPLICATION_EXIT = 0x20026 };

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

static uint32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t arguments[3] = { (uint32_t)(uintptr_t)name, mode, length };
    const uint32_t file = call_host(SYS_OPEN, arguments);
    if (file == UINT32_MAX)
        leave(1);
    return file;
}

static void transfer(uint32_t operation, uint32_t file, const void *memory, uint32_t bytes)
{
    const uint32_t arguments[3] = { file, (uint32_t)(uintptr_t)memory, bytes };
    if (call_host(operation, arguments) != 0) /* how many bytes were not transferred */
        leave(2);
}

static const uint32_t input_bytes[] = { INPUT_BYTES };
static const uint32_t output_bytes[] = { OUTPUT_BYTES };
static uint8_t arena[MODEL_ARENA_BYTES] __attribute__((aligned(16)));

void reset(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xF << 20; /* the FPU on */
    __asm volatile("dsb\n\tisb");
    const uint32_t *from = data_load;
    for (volatile uint32_t *to = data_start; to < data_end; to++)
        *to = *from++;
    for (volatile uint32_t *to = bss_start; to < bss_end; to++)
        *to = 0;

    const uint32_t in = open_file("inputs.bin", 10, MODE_READ), out = open_file("outputs.bin", 11, MODE_WRITE);
    const uint32_t dump = open_file("arena.bin", 9, MODE_WRITE);
    for (int example = 0; example < EXAMPLES; example++) {
        for (size_t i = 0; i < sizeof arena; i++)
            arena[i] = GUARD;
        for (size_t i = 0; i < sizeof input_bytes / sizeof *input_bytes; i++)
            transfer(SYS_READ, in, MODEL(input)(arena, (int)i), input_bytes[i]);
        MODEL(invoke)(arena);
        for (size_t i = 0; i < sizeof output_bytes / sizeof *output_bytes; i++)
            transfer(SYS_WRITE, out, MODEL(output)(arena, (int)i), output_bytes[i]);
        transfer(SYS_WRITE, dump, arena, sizeof arena);
    }
    call_host(SYS_CLOSE, &out);
    call_host(SYS_CLOSE, &dump);
    leave(0);
}
