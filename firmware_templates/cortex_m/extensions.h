/* The commands of our own: identity, fast upload, raw outputs, memory. Other firmware answers them as unknown. */
#ifndef EXTENSIONS_H
#define EXTENSIONS_H

#include "command.h"

extern const command extensions_commands[];     /* ends with a NULL name */

/* After m-ready: takes the raw bytes that `bulk` has announced, and answers them. */
void extensions_receive(session *s);

#endif
