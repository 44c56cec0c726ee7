/* What the start-up code knows about the memory. */
#ifndef STARTUP_H
#define STARTUP_H

#include <stdint.h>

uint32_t startup_stack_bytes(void);         /* reserved */
uint32_t startup_stack_used_bytes(void);    /* the most that was ever in use: how much of the start-up's paint is gone */
uint32_t startup_ram_bytes(void);           /* stack, variables and arena */

#endif
