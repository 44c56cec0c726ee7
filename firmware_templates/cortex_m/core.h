/* The core itself: the few registers and instructions of Armv7-M and Armv8-M that the firmware needs. Source: DDI 0403, DDI 0553. */
#ifndef CORE_H
#define CORE_H

#include <stdint.h>

#include "board.h"

#define CORE_REGISTER(address) (*(volatile uint32_t *)(address))

#define SYSTICK_CONTROL CORE_REGISTER(0xE000E010u)
#define SYSTICK_RELOAD CORE_REGISTER(0xE000E014u)
#define SYSTICK_VALUE CORE_REGISTER(0xE000E018u)
#define SCB_CPUID CORE_REGISTER(0xE000ED00u)    /* bits 4-15: which core this is */
#define SCB_ICSR CORE_REGISTER(0xE000ED04u)     /* bit 26: the SysTick interrupt is pending */
#define SCB_CFSR CORE_REGISTER(0xE000ED28u)     /* why a fault was taken */
#define SCB_HFSR CORE_REGISTER(0xE000ED2Cu)
#define SCB_BFAR CORE_REGISTER(0xE000ED38u)     /* the address of a bus fault, when CFSR bit 15 is set */
#define SCB_CPACR CORE_REGISTER(0xE000ED88u)    /* bits 20-23: access to the FPU and to MVE */
#define MPU_TYPE CORE_REGISTER(0xE000ED90u)     /* bits 8-15: how many regions the memory protection unit has */
#define MPU_CONTROL CORE_REGISTER(0xE000ED94u)  /* bit 0: on; bit 2: the default memory map applies outside the regions */
#define MPU_REGION CORE_REGISTER(0xE000ED98u)   /* which region the next two describe */
#define MPU_BASE CORE_REGISTER(0xE000ED9Cu)
#define MPU_SIZE CORE_REGISTER(0xE000EDA0u)     /* Armv7-M: bit 0: on; bits 1-5: log2 of the bytes, less 1; bits 24-26: access */
#define DEMCR CORE_REGISTER(0xE000EDFCu)        /* bit 24: trace and DWT on */
#define DWT_CONTROL CORE_REGISTER(0xE0001000u)  /* bit 0: CYCCNT counts */
#define DWT_CYCCNT CORE_REGISTER(0xE0001004u)

/* The one external interrupt, of the UART, in the interrupt controller. While it is off, bytes wait in the UART. */
#define NVIC_ENABLE(irq) CORE_REGISTER(0xE000E100u + (irq) / 32 * 4)
#define NVIC_DISABLE(irq) CORE_REGISTER(0xE000E180u + (irq) / 32 * 4)

static inline void uart_interrupt_on(void)
{
    NVIC_ENABLE(BOARD_UART_IRQ) = UINT32_C(1) << (BOARD_UART_IRQ % 32);
}

static inline void uart_interrupt_off(void)
{
    NVIC_DISABLE(BOARD_UART_IRQ) = UINT32_C(1) << (BOARD_UART_IRQ % 32);
    __asm volatile("dsb\n\tisb" : : : "memory");
}

/* Interrupts off; the result says whether they were off before, for interrupts_restore. */
static inline uint32_t interrupts_off(void)
{
    uint32_t before;
    __asm volatile("mrs %0, primask\n\tcpsid i" : "=r"(before) : : "memory");
    return before;
}

static inline void interrupts_restore(uint32_t before)
{
    __asm volatile("msr primask, %0" : : "r"(before) : "memory");
}

/* Sleeps until an interrupt is pending, even one that is held off. */
static inline void wait_for_interrupt(void)
{
    __asm volatile("dsb\n\twfi" : : : "memory");
}

#endif
