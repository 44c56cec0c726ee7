/* A 64-bit count of core clock cycles that never wraps unnoticed. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Starts the DWT cycle counter where the board has one and it really counts, else SysTick. */
void clock_init(void);
const char *clock_name(void);   /* "dwt" or "systick" */

/* Ticks since clock_init, at BOARD_CORE_HZ, and the same in microseconds. */
uint64_t clock_now(void);
uint64_t clock_us(void);

/* Moves the next SysTick interrupt as far away as it goes, so that runs meet it at the same place or not at all. */
void clock_align(void);

/* False once the cycle counter has stood still for a whole SysTick period (a debugger can stop it). */
bool clock_runs(void);

/* Until the next interrupt; sleeping only where the counter goes on counting in sleep. */
void clock_idle(void);

void clock_interrupt(void);     /* the SysTick handler */

#endif
