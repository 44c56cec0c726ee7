/* The commands of our own: identity, fast upload, raw outputs, memory. Other firmware answers them as unknown. */
#include "board.h"
#include "clock.h"
#include "command.h"
#include "console.h"
#include "core.h"
#include "layer_trace.h"
#include "startup.h"

enum { PROTOCOL_VERSION = 1, SILENCE_US = 2000000, OUTPUTS_A_LINE = 32 };

static bool bulk_announced;
static uint32_t bulk_crc;

/* CRC-32 as zlib, Ethernet and PNG compute it, four bits at a time. Start with 0; feed the result back to continue. */
static uint32_t crc32(uint32_t crc, const uint8_t *bytes, uint32_t n)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    crc = ~crc;
    while (n--) {
        crc ^= *bytes++;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static void put_id(const char *key, const char *value)
{
    put_text("m-id-");
    put_text(key);
    put_text("-");
    put_line(value);
}

static void id(void)
{
    put_message("id-protocol", PROTOCOL_VERSION);
    put_id("board", BOARD_NAME);
    put_text("m-id-core-");
    put_hex(SCB_CPUID >> 4, 3);
    put_line_end();
    put_id("model", the->id);
    put_line(build_id);
    put_message("id-input", the->loaded_bytes);
    put_message("id-arena", the->arena_bytes);
    put_message("id-ram", ram_bytes());
    put_id("timer", clock_name());
    put_message("id-tick_hz", BOARD_CORE_HZ);
}

static void bulk(void)
{
    const int64_t n = number(word[1], 10), crc = number(word[2], 16);

    if (n != the->loaded_bytes || crc < 0) {
        put_text("e-[bulk takes ");
        put_unsigned(the->loaded_bytes);
        put_line(" and the bytes' CRC-32 in hexadecimal]");
        return;
    }
    bulk_crc = (uint32_t)crc;
    bulk_announced = true;
    put_text("m-[Expecting ");
    put_unsigned(the->loaded_bytes);
    put_line(" bytes]");
}

bool bulk_is_announced(void)
{
    return bulk_announced;
}

void bulk_receive(void)
{
    bulk_announced = false;
    input_expected = input_received = 0;
    for (uint32_t i = 0; i < the->loaded_bytes; i++) {
        const int byte = console_get_within(SILENCE_US);
        if (byte < 0) {
            put_text("e-[bulk: ");
            put_unsigned(i);
            put_text(" of ");
            put_unsigned(the->loaded_bytes);
            put_line(" bytes came]");
            return;
        }
        the->loaded[i] = (uint8_t)byte;
    }
    const uint32_t crc = crc32(0, the->loaded, the->loaded_bytes);
    if (console_has_lost() || crc != bulk_crc) {
        put_text("e-[bulk: CRC-32 is ");
        put_hex(crc, 8);
        put_line("]");
        return;
    }
    input_expected = input_received = the->loaded_bytes;
    put_line("m-load-done");
}

void layer_trace(uint32_t index, const void *values, uint32_t bytes)
{
    put_text("m-layer-");
    put_unsigned(index);
    put_text("-");
    put_hex(crc32(0, values, bytes), 8);
    put_line_end();
}

static void put_outputs(void)
{
    uint32_t crc = 0;

    for (int i = 0; i < the->output_count; i++) {
        const uint8_t *bytes = (const uint8_t *)the->output(i);
        const uint32_t n = the->outputs[i].bytes;
        crc = crc32(crc, bytes, n);
        for (uint32_t j = 0; j < n; j++) {
            if (j % OUTPUTS_A_LINE == 0)
                put_text("m-output-");
            put_hex(bytes[j], 2);
            if (j % OUTPUTS_A_LINE == OUTPUTS_A_LINE - 1 || j + 1 == n)
                put_line_end();
        }
    }
    put_text("m-crc-");
    put_hex(crc, 8);
    put_line_end();
}

static void run(void)
{
    const int64_t n = number(word[1], 10);

    if (n <= 0 || input_received != the->loaded_bytes) {
        put_line(n <= 0 ? "e-[run takes the number of inferences]" : "e-[run: no whole input is loaded]");
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        load_inputs();
        clock_align();
        const uint64_t start = clock_now();
        the->run();
        put_message("ticks", clock_now() - start);
    }
    if (clock_runs())
        put_outputs();
    else
        put_line("e-[run: the cycle counter stands still]");
}

static void stack(void)
{
    put_text("m-stack-");
    put_unsigned(stack_used_bytes());
    put_text("-");
    put_unsigned(stack_bytes());
    put_line_end();
}

#if BOARD_SEMIHOSTING
/* Arm semihosting's SYS_EXIT_EXTENDED, which ends the emulator with exit code 0. */
static void leave(void)
{
    static const uint32_t reason[2] = { 0x20026, 0 };   /* ADP_Stopped_ApplicationExit */

    put_line("m-exit");
    put_line("m-ready");
    register uint32_t r0 __asm("r0") = 0x20;
    register const uint32_t *r1 __asm("r1") = reason;
    __asm volatile("bkpt 0xab" : : "r"(r0), "r"(r1) : "memory");
}
#endif

const command own_commands[] = {
    { "id", id },     { "bulk", bulk }, { "run", run }, { "stack", stack },
#if BOARD_SEMIHOSTING
    { "exit", leave },
#endif
    { 0, 0 },
};
