/* Runs a generated library over the vectors in inputs.bin and writes the answers to outputs.bin, and each time the whole arena,
 * which was filled with GUARD before, to arena.bin: by Arm semihosting. */
#include "semihosting.h"

#include MODEL_HEADER

static const uint32_t input_bytes[] = { INPUT_BYTES };
static const uint32_t output_bytes[] = { OUTPUT_BYTES };
static uint8_t arena[MODEL_ARENA_BYTES] __attribute__((aligned(16)));

void reset(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xF << 20; /* the FPU on */
    __asm volatile("dsb\n\tisb");
    make_memory_ready();

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
