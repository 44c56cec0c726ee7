/* Reset, faults and the vector table of every Armv7-M and Armv8-M board. */
#include "startup.h"

#include "board.h"
#include "clock.h"
#include "console.h"
#include "core.h"
#include "hal.h"

/* From the linker script. */
extern uint32_t stack_bottom[], stack_top[], data_start[], data_end[], bss_start[], bss_end[];
extern const uint32_t data_load[];

int main(void);
void reset(void);
void start(void);
void fault(void);
void fault_report(const uint32_t *frame);

#define PAINT 0x5AFEC0DEu

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16 + BOARD_UART_IRQ + 1] = {
    [0] = { .stack = stack_top },
    [1] = { .handler = reset },
    [2] = { .handler = fault },     /* NMI */
    [3] = { .handler = fault },     /* HardFault, to which the three below escalate while they are not enabled */
    [4] = { .handler = fault },     /* MemManage */
    [5] = { .handler = fault },     /* BusFault */
    [6] = { .handler = fault },     /* UsageFault */
    [7] = { .handler = fault },     /* SecureFault */
    [11] = { .handler = fault },    /* SVCall */
    [14] = { .handler = fault },    /* PendSV */
    [15] = { .handler = clock_interrupt },
    [16 + BOARD_UART_IRQ] = { .handler = hal_uart_interrupt },
};

/* The FPU is enabled by hand, before any code of the compiler's: it may use vector registers to copy or to save. */
__attribute__((naked)) void reset(void)
{
    __asm volatile(
        "ldr r0, =0xE000ED88\n\t"   /* CPACR: full access to coprocessors 10 and 11 */
        "ldr r1, [r0]\n\t"
        "orr r1, r1, #0xF00000\n\t"
        "str r1, [r0]\n\t"
        "dsb\n\t"
        "isb\n\t"
#if __ARM_ARCH >= 8
        "ldr r0, =stack_bottom\n\t" /* the core itself watches the stack */
        "msr msplim, r0\n\t"
#endif
        "b start");
}

/* What runs below the stack must fault, even where the bus would swallow it. Armv8-M has a register for that, see reset. */
static void guard_stack(void)
{
#if __ARM_ARCH < 8
    enum { GUARD_BYTES_LOG2 = 15 };
    if (!(MPU_TYPE >> 8 & 0xFF))
        return;
    MPU_REGION = 0;
    MPU_BASE = (uint32_t)(uintptr_t)stack_bottom - (1u << GUARD_BYTES_LOG2);
    MPU_SIZE = (GUARD_BYTES_LOG2 - 1) << 1 | 1;     /* no access for anybody */
    MPU_CONTROL = 5;
    __asm volatile("dsb\n\tisb" : : : "memory");
#endif
}

void start(void)
{
    uint32_t *here;
    __asm volatile("mov %0, sp" : "=r"(here));
    for (volatile uint32_t *p = stack_bottom; p < here; p++)
        *p = PAINT;
    const uint32_t *from = data_load;
    for (volatile uint32_t *p = data_start; p < data_end; p++)
        *p = *from++;
    for (volatile uint32_t *p = bss_start; p < bss_end; p++)
        *p = 0;
    guard_stack();
    main();
    for (;;)
        wait_for_interrupt();
}

uint32_t startup_stack_bytes(void)
{
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)stack_bottom);
}

uint32_t startup_stack_used_bytes(void)
{
    const volatile uint32_t *p = stack_bottom;
    while (p < stack_top && *p == PAINT)
        p++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)p);
}

uint32_t startup_ram_bytes(void)
{
    return (uint32_t)((uintptr_t)bss_end - (uintptr_t)stack_bottom);
}

/* The stack may be what is broken: note where it stood, then report on a fresh one. */
__attribute__((naked)) void fault(void)
{
    __asm volatile(
        "mov r0, sp\n\t"
#if __ARM_ARCH >= 8
        "movs r1, #0\n\t"
        "msr msplim, r1\n\t"
#endif
        "ldr r1, =stack_top\n\t"
        "msr msp, r1\n\t"
        "b fault_report");
}

/* One line the host understands, then nothing more. `frame` is what the core pushed: r0-r3, r12, lr, pc, xPSR. */
void fault_report(const uint32_t *frame)
{
    const uint32_t stack_errors = (1u << 4) | (1u << 12) | (1u << 20);  /* CFSR: MSTKERR, STKERR, STKOF */
    const uint32_t cause = SCB_CFSR;

    interrupts_off();
    console_text("\r\ne-[fault: ");
    if (frame < stack_bottom || frame + 8 > stack_top || (cause & stack_errors)) {
        console_text("stack overflow");
    } else {
        console_text("at 0x");
        console_hex(frame[6], 8);
    }
    console_text(", CFSR 0x");
    console_hex(cause, 8);
    console_text(", HFSR 0x");
    console_hex(SCB_HFSR, 8);
    if (cause & (1u << 15)) {
        console_text(", address 0x");
        console_hex(SCB_BFAR, 8);
    }
    console_text("]\r\n");
    for (;;)
        wait_for_interrupt();
}
