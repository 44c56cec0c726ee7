/* What the files that answer commands share. */
#ifndef COMMAND_H
#define COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "model.h"

enum { WORDS = 4 };

extern const model *the;            /* the model that this firmware runs */
extern const char *word[WORDS];     /* of the command that is being answered; "" where it has fewer */

/* The input's bytes that `db load` or `bulk` announced, and those that have come so far. */
extern uint32_t input_expected, input_received;

typedef struct {
    const char *name;
    void (*answer)(void);           /* prints the lines before m-ready */
} command;

extern const char build_id[];        /* the line m-id-build-ID */

extern const command mlperf_commands[], own_commands[];     /* each ends with a NULL name */

void put_line(const char *text);

/* "KEY" and "VALUE" as the line m-KEY-VALUE. */
void put_message(const char *key, uint64_t value);

bool same_text(const char *a, const char *b);
int hex_digit(char c);              /* -1 when it is none */

/* The number in decimal or hexadecimal, or -1 when `text` is not one or does not fit 32 bits. */
int64_t number(const char *text, uint32_t base);

/* Copies the uploaded bytes into the arena's inputs, which the last inference has overwritten. */
void load_inputs(void);

void timestamp(void);               /* prints m-lap-us-T */

/* After m-ready: takes the raw bytes that `bulk` has announced, if it has, and answers them. */
bool bulk_is_announced(void);
void bulk_receive(void);

#endif
