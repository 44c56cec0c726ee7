/* Arm's CMSDK APB UART, as on the MPS2 and MPS3 boards (AN385, AN386, AN500, AN505, AN547). Source: DDI 0479, 4.3. */
#include <stdint.h>

#include "board.h"
#include "core.h"
#include "hal.h"
#include "receive.h"

typedef struct {
    volatile uint32_t data, state, control, interrupt, baud_divider;
} cmsdk_uart;

enum { TX_FULL = 1 << 0, RX_FULL = 1 << 1, RX_OVERRUN = 1 << 3 };           /* state */
enum { TX_ENABLE = 1 << 0, RX_ENABLE = 1 << 1, RX_INTERRUPT = 1 << 3 };     /* control */
enum { RX_PENDING = 1 << 1 };                                               /* interrupt: read status, write 1 to clear */

#define UART ((cmsdk_uart *)BOARD_UART_BASE)

void hal_init(void)
{
    UART->baud_divider = BOARD_UART_HZ / BOARD_BAUD;    /* at least 16, or the UART stays off */
    UART->control = TX_ENABLE | RX_ENABLE | RX_INTERRUPT;
    uart_interrupt_on();
}

void hal_put(char c)
{
    while (UART->state & TX_FULL)
        continue;
    UART->data = (uint8_t)c;
}

void hal_uart_interrupt(void)
{
    UART->interrupt = RX_PENDING;   /* cleared first: a byte that arrives while we read asks again */
    if (UART->state & RX_OVERRUN) {
        UART->state = RX_OVERRUN;
        receive_lost();
    }
    for (bool room = true; room && UART->state & RX_FULL;)
        room = receive_byte((uint8_t)UART->data);
}
