#include "extensions.h"

#include "board.h"
#include "build_id.h"
#include "clock.h"
#include "console.h"
#include "core.h"
#include "crc32.h"
#include "receive.h"
#include "startup.h"

enum { PROTOCOL_VERSION = 1, SILENCE_US = 2000000, OUTPUTS_A_LINE = 32 };

static void put_id(const char *key, const char *value)
{
    console_text("m-id-");
    console_text(key);
    console_text("-");
    command_line(value);
}

static void id(session *s)
{
    command_message("id-protocol", PROTOCOL_VERSION);
    put_id("board", BOARD_NAME);
    console_text("m-id-core-");
    console_hex(SCB_CPUID >> 4, 3);
    console_line_end();
    put_id("model", s->model->id);
    command_line(build_id);
    command_message("id-input", s->model->loaded_bytes);
    command_message("id-arena", s->model->arena_bytes);
    command_message("id-ram", startup_ram_bytes());
    put_id("timer", clock_name());
    command_message("id-tick_hz", BOARD_CORE_HZ);
}

static void bulk(session *s)
{
    const int64_t n = command_number(s->word[1], 10), crc = command_number(s->word[2], 16);

    if (n != s->model->loaded_bytes || crc < 0) {
        console_text("e-[bulk takes ");
        console_unsigned(s->model->loaded_bytes);
        command_line(" and the bytes' CRC-32 in hexadecimal]");
        return;
    }
    s->bulk_crc = (uint32_t)crc;
    s->bulk_announced = true;
    console_text("m-[Expecting ");
    console_unsigned(s->model->loaded_bytes);
    command_line(" bytes]");
}

void extensions_receive(session *s)
{
    s->bulk_announced = false;
    s->expected = s->received = 0;
    for (uint32_t i = 0; i < s->model->loaded_bytes; i++) {
        const int byte = receive_get_within(SILENCE_US);
        if (byte < 0) {
            console_text("e-[bulk: ");
            console_unsigned(i);
            console_text(" of ");
            console_unsigned(s->model->loaded_bytes);
            command_line(" bytes came]");
            return;
        }
        s->model->loaded[i] = (uint8_t)byte;
    }
    const uint32_t crc = crc32_update(0, s->model->loaded, s->model->loaded_bytes);
    if (receive_has_lost() || crc != s->bulk_crc) {
        console_text("e-[bulk: CRC-32 is ");
        console_hex(crc, 8);
        command_line("]");
        return;
    }
    s->expected = s->received = s->model->loaded_bytes;
    command_line("m-load-done");
}

static void put_outputs(const model *m)
{
    uint32_t crc = 0;

    for (int i = 0; i < m->output_count; i++) {
        const uint8_t *bytes = (const uint8_t *)m->output(i);
        const uint32_t n = m->outputs[i].bytes;
        crc = crc32_update(crc, bytes, n);
        for (uint32_t j = 0; j < n; j++) {
            if (j % OUTPUTS_A_LINE == 0)
                console_text("m-output-");
            console_hex(bytes[j], 2);
            if (j % OUTPUTS_A_LINE == OUTPUTS_A_LINE - 1 || j + 1 == n)
                console_line_end();
        }
    }
    console_text("m-crc-");
    console_hex(crc, 8);
    console_line_end();
}

static void run(session *s)
{
    const int64_t n = command_number(s->word[1], 10);

    if (n <= 0 || s->received != s->model->loaded_bytes) {
        command_line(n <= 0 ? "e-[run takes the number of inferences]" : "e-[run: no whole input is loaded]");
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        command_load_inputs(s->model);
        clock_align();
        const uint64_t start = clock_now();
        s->model->run();
        command_message("ticks", clock_now() - start);
    }
    if (clock_runs())
        put_outputs(s->model);
    else
        command_line("e-[run: the cycle counter stands still]");
}

static void stack(session *s)
{
    (void)s;
    console_text("m-stack-");
    console_unsigned(startup_stack_used_bytes());
    console_text("-");
    console_unsigned(startup_stack_bytes());
    console_line_end();
}

#if BOARD_SEMIHOSTING
/* Arm semihosting's SYS_EXIT_EXTENDED, which ends the emulator with exit code 0. */
static void leave(session *s)
{
    (void)s;
    static const uint32_t reason[2] = { 0x20026, 0 };   /* ADP_Stopped_ApplicationExit */

    command_line("m-exit");
    command_line("m-ready");
    register uint32_t r0 __asm("r0") = 0x20;
    register const uint32_t *r1 __asm("r1") = reason;
    __asm volatile("bkpt 0xab" : : "r"(r0), "r"(r1) : "memory");
}
#endif

const command extensions_commands[] = {
    { "id", id },     { "bulk", bulk }, { "run", run }, { "stack", stack },
#if BOARD_SEMIHOSTING
    { "exit", leave },
#endif
    { 0, 0 },
};
