/* What a board's hal/<hal>.c provides. Adding a chip family is writing this one file. */
#ifndef HAL_H
#define HAL_H

/* Clocks, pins and the UART at BOARD_BAUD, 8N1, with reception by interrupt. */
void hal_init(void);

/* Sends one byte, waiting for room. Works with interrupts off, so that a fault can be reported. */
void hal_put(char c);

/* The handler of BOARD_UART_IRQ: hands the bytes that have arrived to receive_byte, until it says false. */
void hal_uart_interrupt(void);

#endif
