/* A command is ASCII text that ends with '%'; its words are separated by single spaces. Replies are lines that start with
 * "m-" (message) or "e-" (error); every command, good or bad, ends with "m-ready".
 *
 * MLPerf Tiny:  name, profile, timestamp, db load N, db HEX, db print, infer N W, results
 * Our own, which other firmware answers with e-[Unknown command: X]:
 *   id              who this is: m-id-KEY-VALUE lines; m-id-build is the sha256 of the image, see build_id.c
 *   bulk N CRC32    then, after m-ready, N raw input bytes: m-load-done, or e-[bulk: ...] and nothing is loaded
 *   run N           N inferences of the loaded input: m-ticks-T each, the raw int8 outputs as m-output-HEX, their m-crc-CRC32
 *   stack           m-stack-USED-OF
 *   exit            ends the emulator
 */
#include "protocol.h"

#include "command.h"
#include "console.h"

enum { COMMAND_BYTES = 80 };

const model *the;
const char *word[WORDS];
uint32_t input_expected, input_received;

void put_line(const char *text)
{
    put_text(text);
    put_line_end();
}

void put_message(const char *key, uint64_t value)
{
    put_text("m-");
    put_text(key);
    put_text("-");
    put_unsigned(value);
    put_line_end();
}

bool same_text(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int64_t number(const char *text, uint32_t base)
{
    int64_t value = 0;

    if (!*text)
        return -1;
    for (; *text; text++) {
        const int digit = hex_digit(*text);
        if (digit < 0 || (uint32_t)digit >= base)
            return -1;
        value = value * base + digit;
        if (value > UINT32_MAX)
            return -1;
    }
    return value;
}

void load_inputs(void)
{
    const uint8_t *from = the->loaded;

    for (int i = 0; i < the->input_count; i++) {
        uint8_t *to = the->input(i);
        for (uint32_t j = 0; j < the->inputs[i].bytes; j++)
            *to++ = *from++;
    }
}

/* Up to the '%', without it and without line ends. False when it is too long to be a command; then it is skipped. */
static bool read_command(char *text)
{
    uint32_t n = 0;

    for (;;) {
        const char c = (char)console_get();
        if (c == '%')
            break;
        if (c == '\r' || c == '\n')
            continue;
        if (n < COMMAND_BYTES)
            text[n] = c >= ' ' && c <= '~' ? c : '?';   /* it may come back in an error, which is a line of text */
        n++;
    }
    text[n < COMMAND_BYTES ? n : COMMAND_BYTES] = '\0';
    return n < COMMAND_BYTES;
}

static void split(char *text)
{
    for (int i = 0; i < WORDS; i++) {
        word[i] = text;
        while (*text && *text != ' ')
            text++;
        if (*text)
            *text++ = '\0';
    }
}

static bool answered_by(const command *c)
{
    for (; c->name; c++)
        if (same_text(word[0], c->name)) {
            c->answer();
            return true;
        }
    return false;
}

void protocol_run(const model *m)
{
    char text[COMMAND_BYTES + 1];

    the = m;
    put_line("m-timestamp-mode-performance");
    timestamp();
    put_line("m-init-done");
    for (;;) {
        put_line("m-ready");
        if (bulk_is_announced()) {
            bulk_receive();
            continue;
        }
        const bool fits = read_command(text);
        if (console_has_lost()) {
            put_line("e-[Bytes were lost: send less before m-ready]");
            continue;
        }
        if (!fits) {
            put_line("e-[Command longer than 80 characters]");
            continue;
        }
        split(text);
        if (!answered_by(mlperf_commands) && !answered_by(own_commands)) {
            put_text("e-[Unknown command: ");
            put_text(word[0]);
            put_line("]");
        }
    }
}
