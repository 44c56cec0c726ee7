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
#include "extensions.h"
#include "mlperf.h"
#include "receive.h"

enum { COMMAND_BYTES = 80 };

/* Up to the '%', without it and without line ends. False when it is too long to be a command; then it is skipped. */
static bool read_command(char *text)
{
    uint32_t n = 0;

    for (;;) {
        const char c = (char)receive_get();
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

static void split(session *s, char *text)
{
    for (int i = 0; i < COMMAND_WORDS; i++) {
        s->word[i] = text;
        while (*text && *text != ' ')
            text++;
        if (*text)
            *text++ = '\0';
    }
}

static bool answered_by(const command *c, session *s)
{
    for (; c->name; c++)
        if (command_is(s->word[0], c->name)) {
            c->answer(s);
            return true;
        }
    return false;
}

void protocol_run(const model *m)
{
    char text[COMMAND_BYTES + 1];
    session s = { .model = m };

    command_line("m-timestamp-mode-performance");
    mlperf_timestamp(&s);
    command_line("m-init-done");
    for (;;) {
        command_line("m-ready");
        if (s.bulk_announced) {
            extensions_receive(&s);
            continue;
        }
        const bool fits = read_command(text);
        if (receive_has_lost()) {
            command_line("e-[Bytes were lost: send less before m-ready]");
            continue;
        }
        if (!fits) {
            command_line("e-[Command longer than 80 characters]");
            continue;
        }
        split(&s, text);
        if (!answered_by(mlperf_commands, &s) && !answered_by(extensions_commands, &s)) {
            console_text("e-[Unknown command: ");
            console_text(s.word[0]);
            command_line("]");
        }
    }
}
