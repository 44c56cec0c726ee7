/* The innermost loop of everything with weights. */
#ifndef NN_DOT_H
#define NN_DOT_H

#include "nn.h"

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)

/* Four values at a time in the halves of two registers: 10 instructions for 4 multiply-accumulates on Armv7E-M. x - x_zero
 * has 9 bits and its sign, so it fits a half. Both operands are split alike, so which value meets which is kept. */
static inline int32_t nn_dot_four(int32_t acc, const int8_t *x, uint32_t x_zeros, const int8_t *w)
{
    uint32_t x_even, x_odd, w_even, w_odd;

    __builtin_memcpy(&x_odd, x, 4);     /* one load; this core reads words from any address */
    __builtin_memcpy(&w_odd, w, 4);
    __asm__("sxtb16 %0, %1" : "=r"(x_even) : "r"(x_odd));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(x_odd) : "r"(x_odd));
    __asm__("sxtb16 %0, %1" : "=r"(w_even) : "r"(w_odd));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(w_odd) : "r"(w_odd));
    __asm__("ssub16 %0, %0, %1" : "+r"(x_even) : "r"(x_zeros));
    __asm__("ssub16 %0, %0, %1" : "+r"(x_odd) : "r"(x_zeros));
    __asm__("smlad %0, %1, %2, %0" : "+r"(acc) : "r"(x_even), "r"(w_even));
    __asm__("smlad %0, %1, %2, %0" : "+r"(acc) : "r"(x_odd), "r"(w_odd));
    return acc;
}

#else

static inline int32_t nn_dot_four(int32_t acc, const int8_t *x, uint32_t x_zeros, const int8_t *w)
{
    const int32_t x_zero = (int16_t)x_zeros;

    acc += (x[0] - x_zero) * w[0];
    acc += (x[1] - x_zero) * w[1];
    acc += (x[2] - x_zero) * w[2];
    acc += (x[3] - x_zero) * w[3];
    return acc;
}

#endif

/* acc + the sum of (x[i] - x_zero) * w[i]. */
static inline int32_t nn_dot(int32_t acc, const int8_t *x, int32_t x_zero, const int8_t *w, int32_t count)
{
    const uint32_t x_zeros = (uint32_t)(uint16_t)x_zero * UINT32_C(0x10001);

    for (; count >= 4; count -= 4, x += 4, w += 4)
        acc = nn_dot_four(acc, x, x_zeros, w);
    for (; count > 0; count--)
        acc += (*x++ - x_zero) * *w++;
    return acc;
}

#endif
