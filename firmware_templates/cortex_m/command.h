/* A command as it is answered, and what the files that answer commands share. */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "model.h"

enum { COMMAND_WORDS = 4 };

typedef struct {
    const model *model;                     /* what this firmware runs */
    const char *word[COMMAND_WORDS];        /* of the command that is being answered; "" where it has fewer */
    uint32_t expected, received;            /* the input's bytes that were announced, and those that have come so far */
    bool bulk_announced;                    /* raw bytes come after m-ready, and this is their CRC-32 */
    uint32_t bulk_crc;
} session;

typedef struct {
    const char *name;
    void (*answer)(session *s);             /* prints the lines before m-ready */
} command;

void command_line(const char *text);

/* "KEY" and "VALUE" as the line m-KEY-VALUE. */
void command_message(const char *key, uint64_t value);

bool command_is(const char *a, const char *b);
int command_hex_digit(char c);              /* -1 when it is none */

/* The number in decimal or hexadecimal, or -1 when `text` is not one or does not fit 32 bits. */
int64_t command_number(const char *text, uint32_t base);

/* Copies the uploaded bytes into the arena's inputs, which the last inference has overwritten. */
void command_load_inputs(const model *m);

#endif
