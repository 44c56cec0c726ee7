/* The board: A Cortex-M4F for tests (MPS2 AN386 in QEMU). Generated from the target file; do not edit. */
#ifndef BOARD_H
#define BOARD_H

#define BOARD_NAME "test-board"
#define BOARD_CORE_HZ 100000000u /* what the timers of the core count at on this device */
#define BOARD_UART_HZ 25000000u
#define BOARD_UART_BASE 0x40004000u
#define BOARD_UART_IRQ 0
#define BOARD_BAUD 115200u
#define BOARD_HAS_DWT 0 /* time by the DWT cycle counter, as long as it counts */
#define BOARD_SEMIHOSTING 1 /* `exit%` ends the emulator */

#endif
