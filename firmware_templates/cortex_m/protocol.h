/* The MLPerf Tiny / EEMBC device protocol over the board's UART, and a few commands of our own. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include "model.h"

/* Answers commands for ever. */
__attribute__((noreturn)) void protocol_run(const model *m);

#endif
